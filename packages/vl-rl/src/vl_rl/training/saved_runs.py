"""Finished runs on disk: their settings, models and learning curves.

Models are rebuilt from `config.json` and the parameters in `model.zip`. Nothing is unpickled, so folders from others
are as safe as their hyper-parameters, whose names are imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from vl_core.files import read_json
from vl_core.runs import atomic_write, read_metrics

from vl_rl.training.building import build, make_environments
from vl_rl.training.settings import RunSettings

_MODEL, _CONFIG, _METRICS, _MEANS = "model.zip", "config.json", "metrics.jsonl", "normalization.npz"
_UNUSED_BUFFER = {"buffer_size": 2000}  # holds an episode of each environment here


class NoMetricError(ValueError):
    """A run without a metric; the message names those that it has."""


@dataclass(frozen=True)
class SavedRun:
    """A run and its folder."""

    folder: Path
    """Folder of the run."""
    settings: RunSettings
    """Its settings."""
    group: str = ""
    """Folder of its comparison, where another one has a method of the same name; else empty."""

    @property
    def label(self) -> str:
        """Name of the method in tables and charts."""
        return f"{self.group}: {self.settings.label}" if self.group else self.settings.label

    @property
    def is_finished(self) -> bool:
        """True if the run has its model."""
        return (self.folder / _MODEL).exists()

    @property
    def root(self) -> Path:
        """Folder of the comparison that the run belongs to; its own, if it was made by itself."""
        folder = self.folder.resolve()
        return folder.parents[2] if folder.as_posix().endswith(f"/{self.settings.folder}") else folder

    def load(self, env: VecEnv | None = None, *, device: str = "cpu", **options: Any) -> tuple[BaseAlgorithm, VecEnv]:
        """The trained model, and one environment to play in.

        Args:
            env: An environment to play in; by default, a new one like that of training.
            device: Device of the networks.
            options: Arguments of the new environment, such as ``render_mode``.

        Raises:
            ValueError: If the model does not fit the settings.
            OSError: If it cannot be read.
        """
        if not self.is_finished:
            raise FileNotFoundError(f"{self.folder} has no {_MODEL}: the run is not finished; rerun to resume it")
        settings = replace(self.settings, device=device)
        if env is None:
            env = make_environments(settings, 1, **options)
        model = build(settings, env, **(_UNUSED_BUFFER if settings.is_off_policy else {}))
        try:
            model.set_parameters(str(self.folder / _MODEL), device=device)
        except (ValueError, RuntimeError, KeyError) as error:
            raise ValueError(f"{self.folder / _MODEL} does not fit {_CONFIG} beside it: {error}") from error
        if (means := self.folder / _MEANS).exists():
            load_normalization(means, env)
        return model, env

    def curve(self, metric: str = "eval/return") -> tuple[list[int], list[float]]:
        """Steps and values of a metric.

        Raises:
            ValueError: If the run has no such metric; the message names those that it has. Or if its file is damaged.
        """
        rows = read_metrics(self.folder)
        points = {int(row["step"]): row[metric] for row in rows if metric in row}
        if not points:
            known = sorted({name for row in rows for name in row} - {"step"})
            if not known:
                raise NoMetricError(f"{self.folder} has no metrics yet; wait for its first evaluation")
            raise NoMetricError(f"metric must be one of {', '.join(known)} for {self.folder}, got {metric!r}")
        return list(points), list(points.values())


def find_runs(folders: Iterable[Path], *, finished: bool = True) -> list[SavedRun]:
    """Runs in folders and below them, each once, in the order of their names.

    Methods of one name in several comparisons are pooled where they differ in seeds alone; else they are told apart by
    the folders of the comparisons.

    Args:
        folders: Folders of runs, or above them.
        finished: True to leave out runs without a model.

    Raises:
        FileNotFoundError: If a folder does not exist or holds no run.
        ValueError: If a configuration is damaged.
    """
    found: dict[Path, SavedRun] = {}
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is no folder of `vl-rl train`; run vl-rl train first")
        wanted = _MODEL if finished else _METRICS
        own = sorted(path.parent for path in folder.rglob(wanted) if (path.parent / _CONFIG).exists())
        if not own:
            raise FileNotFoundError(f"{folder} holds no {'finished ' * finished}run of `vl-rl train`")
        for one in own:
            found.setdefault(one.resolve(), SavedRun(one, read_settings(one)))
    return _tell_apart(list(found.values()))


def read_settings(folder: Path) -> RunSettings:
    """Settings of the run in a folder.

    Raises:
        ValueError: If they are damaged.
    """
    config = read_json(folder / _CONFIG, dict)
    try:
        return RunSettings(**config, source=str(folder / _CONFIG))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / _CONFIG} is not the configuration of a run: {error}") from error


def by_method(runs: Sequence[SavedRun]) -> dict[str, list[SavedRun]]:
    """Runs by the name of their method, seeds in order; with the environment, where a method has several."""
    environments: dict[str, set[str]] = {}
    for run in runs:
        environments.setdefault(run.label, set()).add(run.settings.env)
    found: dict[str, list[SavedRun]] = {}
    for run in runs:
        several = len(environments[run.label]) > 1
        found.setdefault(f"{run.label} on {run.settings.env}" if several else run.label, []).append(run)
    return {name: sorted(group, key=lambda run: run.settings.seed) for name, group in found.items()}


def _tell_apart(runs: list[SavedRun]) -> list[SavedRun]:
    """Set the group of runs whose methods have one name, but are not the same."""
    methods: dict[str, list[SavedRun]] = {}
    for run in runs:
        methods.setdefault(run.settings.label, []).append(run)
    mixed = {label for label, group in methods.items() if _are_mixed(group)}
    roots = _short_names({run.root for run in runs if run.settings.label in mixed})
    return [replace(run, group=roots[run.root]) if run.settings.label in mixed else run for run in runs]


def _are_mixed(runs: list[SavedRun]) -> bool:
    """True if two runs on one environment have the same seed, or differ in other settings."""
    seen: dict[str, list[SavedRun]] = {}
    for run in runs:
        seen.setdefault(run.settings.env, []).append(run)
    return any(
        len({run.settings.seed for run in group}) < len(group)
        or (
            len({run.root for run in group}) > 1
            and any(
                replace(run.settings, seed=0).config() != replace(group[0].settings, seed=0).config() for run in group
            )
        )
        for group in seen.values()
    )


def _short_names(folders: set[Path]) -> dict[Path, str]:
    """Names of folders: of the ends of their paths, the shortest that no other has, without what all end in."""
    parts = {folder: list(folder.parts) for folder in folders}
    while (
        len(parts) > 1 and len({own[-1] for own in parts.values()}) == 1 and all(len(own) > 1 for own in parts.values())
    ):
        for own in parts.values():
            own.pop()
    names = {}
    for folder, own in parts.items():
        others = [other for key, other in parts.items() if key != folder]
        length = next((n for n in range(1, len(own)) if all(other[-n:] != own[-n:] for other in others)), len(own))
        names[folder] = Path(*own[-length:]).as_posix()
    return names


def save_normalization(path: Path, env: VecEnv) -> None:
    """Write the running means of observations; nothing for environments without."""
    normalize = unwrap_vec_normalize(env)
    if normalize is None or not normalize.norm_obs:
        return
    means = normalize.obs_rms if isinstance(normalize.obs_rms, dict) else {"": normalize.obs_rms}
    arrays = {f"{key}/{part}": getattr(one, part) for key, one in means.items() for part in ("mean", "var", "count")}
    with atomic_write(path, "wb") as file:
        np.savez(file, **arrays)


def load_normalization(path: Path, env: VecEnv) -> None:
    """Read what `save_normalization` wrote into an environment, and freeze it.

    Raises:
        ValueError: If the file or the environment is another one.
    """
    normalize = unwrap_vec_normalize(env)
    if normalize is None:
        raise ValueError(f"env must normalize observations as {path} says, got one that does not")
    with np.load(path, allow_pickle=False) as arrays:
        means = {name.rpartition("/")[0]: RunningMeanStd() for name in arrays.files}
        for name in arrays.files:
            key, _, part = name.rpartition("/")
            setattr(means[key], part, arrays[name] if part != "count" else float(arrays[name]))
    normalize.obs_rms = means.get("", means)  # type: ignore[assignment]
    normalize.training = normalize.norm_reward = False
