"""Rows of finished runs: reading, columns as numbers, and groups of runs that differ in their seed alone.

Nothing here imports torch or scipy, so commands can check their input with it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vl_core.files import read_json
from vl_core.results import read_rows
from vl_core.runs import read_metrics

BUILT_IN = Path(__file__).parent / "runs.csv"
"""Runs of `run_study` that ship with the package; a row holds their settings."""

ACCURACIES = ("knn", "knn_best")
"""Columns of measured accuracies."""

SETTINGS = (
    *("method", "ablation", "base_learning_rate", "width", "schedule", "switch_at", "triggered", "share"),
    *("batch_size", "epochs", "epoch_length", "images", "limit", "image_size", "configuration"),
)
"""Columns of a run of `vl-ssl sweep` that make its configuration; ``seed`` is one more."""


def read_runs(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Rows of a CSV file of runs, or of the ``runs.csv`` of a folder; values as text.

    A folder of `vl-ssl train` is one row, from its metrics: of training mode, with the column ``configuration`` for
    all settings but seeds.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is no CSV file, or has no row.
    """
    given = Path(path).expanduser()
    if not (given / "runs.csv").is_file() and (given / "metrics.jsonl").is_file():
        return [_trained_run(given)]
    file = given / "runs.csv" if given.is_dir() else given
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist; pass a CSV file of runs or a folder of vl-ssl sweep")
    rows = read_rows(file)
    if not rows:
        raise ValueError(f"{file} must hold at least one run, got none")
    return rows


def column(runs: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """A column of runs as numbers ``(n,)``.

    Raises:
        ValueError: If a run lacks it, or it is no finite number; the message names the run, counted from 1.
    """
    found = np.empty(len(runs))
    for number, run in enumerate(runs, 1):
        if name not in run:
            known = ", ".join(str(key) for key in list(run)[:30])
            raise ValueError(f"run {number} must have a column {name!r}, got {known}; choose among these")
        value = as_number(run[name])
        if value is None:
            raise ValueError(f"{name} of run {number} must be a number, got {run[name]!r}; leave the run out")
        if not math.isfinite(value):
            raise ValueError(f"{name} of run {number} must be finite, got {value}; leave the run or the metric out")
        found[number - 1] = value
    return found


def as_number(value: Any) -> float | None:
    """A value of a cell as a number, NaN and infinity too; None where it is none, as of an empty cell."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def check_features(features: Sequence[str], accuracy: str) -> None:
    """Refuse to forecast an accuracy from itself, or from the best on its way.

    Raises:
        ValueError: If a feature is the accuracy, or both are among `ACCURACIES`.
    """
    for name in features:
        if name == accuracy or {name, accuracy} <= set(ACCURACIES):
            raise ValueError(
                f"features must not hold the accuracy that is forecast, {accuracy}, got {name}, which is measured with "
                "labels; leave it out"
            )


def configurations(runs: Sequence[Mapping[str, Any]], settings: Sequence[str] = SETTINGS) -> list[tuple[str, ...]]:
    """Settings of each run as text, without its seed: equal for runs that differ in their seed alone.

    Args:
        runs: Values by column.
        settings: Columns that make a configuration; those that no run has are left out.

    Raises:
        ValueError: If no run has any of them.

    Example:
        >>> configurations([{"width": 8, "seed": 0}, {"width": 8, "seed": 1}, {"width": 16, "seed": 0}])
        [('8',), ('8',), ('16',)]
    """
    names = [name for name in settings if any(name in run for run in runs)]
    if not names:
        raise ValueError(f"runs must have columns of their settings, such as {', '.join(settings[:4])}; got none")
    return [tuple(str(run.get(name, "")) for name in names) for run in runs]


def read_all_runs(paths: Sequence[str | os.PathLike[str]]) -> list[dict[str, str]]:
    """Rows of several files or folders, one after the other; `read_runs` explains them.

    Raises:
        OSError: If one does not exist.
        ValueError: If one holds no run, or runs of `vl-ssl train`, whose metrics are those of training mode, would mix
            with others.
    """
    found = [row for path in paths for row in read_runs(path)]
    trained = ["configuration" in row for row in found]
    if any(trained) and not all(trained):
        raise ValueError(
            "runs must be all of vl-ssl train or all of tables, got both; their metrics are measured differently"
        )
    return found


def _trained_run(folder: Path) -> dict[str, str]:
    """The row of a folder of `vl-ssl train`: its last metrics as they were logged in training mode."""
    rows, config = read_metrics(folder), read_json(folder / "config.json", dict)
    if not rows:
        raise ValueError(f"{folder} must hold metrics of a run, got none; train it first")
    # Which images a limit chooses depends on the seed, so their digests are left out.
    settings = {key: value for key, value in config.items() if key not in ("images", "names")}
    last = rows[-1]["step"]
    losses = [row["loss"] for row in rows if row["step"] >= 0.9 * last and "loss" in row]
    row: dict[str, Any] = {
        "run": folder.name,
        "configuration": json.dumps(_without_seeds(settings), sort_keys=True),
        "seed": config.get("seed", ""),
        "updates": last + 1,
        "loss": math.fsum(losses) / len(losses) if losses else "",
    }
    for space, prefix in (("features", ""), ("projections", "projection_")):
        for key, value in _latest(rows, f"collapse/{space}/").items():
            row[prefix + key] = value
    row["knn"] = _latest(rows, "").get("knn", "")
    return {name: str(value) for name, value in row.items()}


def _latest(rows: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, Any]:
    """Last value of each number whose name begins so, without the beginning."""
    return {name.removeprefix(prefix): value for row in rows for name, value in row.items() if name.startswith(prefix)}


def _without_seeds(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_seeds(value) for key, value in content.items() if key != "seed"}
    return content
