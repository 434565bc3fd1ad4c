"""Stages of the learner: as it began, and as it is after the training of each iteration; kept in the run's folder."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from PIL import Image
from vl_core.data import ImageError
from vl_core.files import read_json
from vl_core.runs import atomic_write

from vl_explorer.exploring.settings import Exploration
from vl_explorer.learning.images import FoundImages, open_stored
from vl_explorer.learning.learner import STATE, Learner
from vl_explorer.store.replay import draw
from vl_explorer.store.rows import Run
from vl_explorer.store.store import Store

_TARGET = "target:"  # begins the name of a target image
_KEPT = 2  # stages that may be needed again
_LEARNER = "learner"


class Stages:
    """Trains a learner iteration after iteration, and finds it again after a kill.

    Stage 0 is the learner as it began, or adapted to the target; stage t + 1 has been trained on iteration t as well.

    Args:
        out: Folder of the run; stages are in its folder ``learner``.
        store: Holds the images.
        run_id: Of the run.
        learner: To be trained.
        target: Images of the task.
        settings: Of the exploration.
    """

    def __init__(
        self,
        out: Path,
        store: Store,
        run_id: int,
        learner: Learner,
        target: Sequence[Image.Image],
        settings: Exploration,
    ) -> None:
        self._folder, self._store, self._run_id = out / _LEARNER, store, run_id
        self._learner, self._target, self._settings = learner, target, settings
        self._stage = -1

    def folder(self, stage: int) -> Path:
        """Folder of a stage."""
        return self._folder / f"{stage:04d}"

    def restore(self, stage: int) -> None:
        """Bring the learner to a stage that is there, also from a later one; stage 0 is made.

        Raises:
            FileNotFoundError: If the folder of the run lacks it.
        """
        if self._stage == stage:
            return
        if stage == 0 and self._stage < 0:
            self.advance(0)
            return
        if not (self.folder(stage) / STATE).is_file():
            raise FileNotFoundError(
                f"{self.folder(stage)} must hold the learner after {stage} iterations, which the store has; give the "
                "folder that the run began with, or another name for a new run"
            )
        self._learner.load(self.folder(stage))
        self._stage = stage

    def advance(self, stage: int) -> None:
        """Bring the learner from the stage before to this one; nothing happens if it is there."""
        if self._stage >= stage:
            return
        folder = self.folder(stage)
        if (folder / STATE).is_file():
            self._learner.load(folder)
        else:
            names = self._names(stage)
            if names:
                self._stage = -1  # of a training that fails the learner keeps a part
                self._train(names, stage)
            self._learner.save(folder)
        self._stage = stage
        shutil.rmtree(self._training(stage), ignore_errors=True)
        for old in range(stage - _KEPT, -1, -1):
            if not self.folder(old).is_dir():
                break
            shutil.rmtree(self.folder(old))

    def choose(self, iteration: int, new: Iterable[str], rewards: Mapping[str, float]) -> None:
        """Write down the images to train on after an iteration, before its rewards are in the store.

        Args:
            iteration: Its number.
            new: SHA-256 of images that no earlier iteration brought.
            rewards: Of these images at least.
        """
        settings = self._settings
        ranked = sorted(new, key=lambda digest: (-rewards[digest], digest))
        chosen = ranked[: math.ceil(settings.kept * len(ranked))]
        past = self._store.best_images(self._run_id, settings.replay_capacity)
        own = [f"{_TARGET}{place}" for place in range(len(self._target))]
        drawn = draw([*past, *own], round(settings.past_ratio * len(chosen)), seed=settings.seed, iteration=iteration)
        path = self._list(iteration + 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            json.dump([*chosen, *drawn], file)

    def _names(self, stage: int) -> list[str]:
        if stage == 0:
            return [f"{_TARGET}{place}" for place in range(len(self._target))] if self._settings.adapt else []
        names: list[str] = read_json(self._list(stage), list)
        return names

    def _train(self, names: Sequence[str], stage: int) -> None:
        """Train on what is still there of these images."""
        images: dict[str, Image.Image | Path] = {}
        for name in names:
            if name.startswith(_TARGET):
                images[name] = self._target[int(name.removeprefix(_TARGET))]
            elif (path := _path(self._store, name)) is not None:
                images[name] = path
        if len(images) < 2:
            return
        folder = self._training(stage)
        begun = folder / "images.json"
        # An image that went meanwhile makes it another training.
        if begun.is_file() and read_json(begun, list) != list(images):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(begun) as file:
            json.dump(list(images), file)
        self._learner.train(FoundImages(list(images), list(images.values())), stage, folder / "run")

    def _list(self, stage: int) -> Path:
        return self._folder / f"{stage:04d}-images.json"

    def _training(self, stage: int) -> Path:
        return self._folder / f"{stage:04d}-training"


def number_folder(out: Path) -> str:
    """Number of a run's folder, which is drawn once: two folders never have the same."""
    path = out / _LEARNER / "folder.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            json.dump({"folder": uuid4().hex}, file)
    return str(read_json(path, dict).get("folder", ""))


def take_folder(out: Path, run: Run) -> None:
    """Write down whose learner a folder has, since the stages of one run would be taken for those of another.

    Raises:
        ValueError: If it is that of another run.
    """
    path, own = out / _LEARNER / "run.json", {"run": run.name, "started_at": run.started_at}
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            json.dump(own, file)
    elif (found := read_json(path, dict)) != own:
        raise ValueError(
            f"out must be a folder without the learner of another run, got {out} with that of {found.get('run')!r}; "
            f"give another folder for {run.name!r}, or remove {path.parent}"
        )


def stored_images(store: Store, digests: Iterable[str]) -> dict[str, Image.Image]:
    """Images of a store by SHA-256, without those that are gone."""
    paths = {digest: _path(store, digest) for digest in digests}
    found = {}
    for digest, path in paths.items():
        try:
            if path is not None:
                found[digest] = open_stored(path)
        except (ImageError, OSError):  # It went this very moment, or was damaged on this disk.
            continue
    return found


def _path(store: Store, digest: str) -> Path | None:
    try:
        path = store.path(digest)
    except (KeyError, FileNotFoundError):
        return None
    return path if path.is_file() else None
