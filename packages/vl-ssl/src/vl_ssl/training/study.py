"""One run of a study: training, a curve of collapse metrics and k-NN accuracy, and a row of results.

What a row says of the network is measured in evaluation mode on fixed images, so rows of equal images compare:

- collapse metrics: features of up to `MEASURED` of the ``limit`` images, not augmented. With a smaller share the same
  images are measured, whether the run has seen them or not: metrics of different numbers of images do not compare;
- ``knn``: weighted k-NN (k = 20, temperature 0.07) of up to `TESTED` test images, with the same images as the bank.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from vl_core.data import ImageDataset, Normalization, UndividedError, balanced_order, image_to_tensor, open_dataset
from vl_core.features import knn_accuracy
from vl_core.files import read_json
from vl_core.runs import atomic_write, read_metrics
from vl_core.tables import write_rows

from vl_ssl.backbones.building import build_backbone
from vl_ssl.backbones.checking import evaluating
from vl_ssl.backbones.saving import save_backbone
from vl_ssl.collapse.meter import CollapseMeter
from vl_ssl.collapse.monitor import CollapseMonitor
from vl_ssl.methods.build import ABLATIONS, METHODS, build_method
from vl_ssl.methods.method import SiameseMethod
from vl_ssl.probes.images import ImageTensors, image_tensors
from vl_ssl.probes.offline import frozen_features
from vl_ssl.schedules.chunks import Continual, MultiEpoch
from vl_ssl.schedules.hybrid import Hybrid
from vl_ssl.schedules.schedule import Schedule
from vl_ssl.training.configuration import StudyRun
from vl_ssl.training.pretrain import pretrain
from vl_ssl.training.settings import PretrainSettings

MEASURED = 2048
"""Images whose features are measured at most."""
TESTED = 1000
"""Test images of k-NN at most."""
METRICS = ("auc", "rankme", "effective_rank", "alpha_req", "nesum", "stable_rank", "participation_ratio", "std_scaled")
"""Collapse metrics of a row, of features; those of projections have the prefix ``projection_``."""

_WARMUP = 50  # updates
_READINGS = 20  # of a run, by the probe
_HEADS = {"projection": 256, "hidden": 256, "predictor_hidden": 64}


@dataclass(frozen=True)
class StudyImages:
    """Images of a study."""

    train: ImageTensors
    """Images to train on; of k-NN, the bank."""
    test: ImageTensors
    """Images that k-NN classifies."""


def run_study(
    run: StudyRun, out: str | os.PathLike[str], *, checkpoint_every: int = 500, progress: bool = False
) -> dict[str, Any]:
    """Train and measure one run; rerun to resume, or to read the row of one that has finished.

    The folder then holds ``row.json``, ``curve.csv``, ``model/`` and the record of `pretrain`.

    Args:
        run: Its settings.
        out: Its folder.
        checkpoint_every: Largest number of updates between checkpoints.
        progress: Show a progress bar.

    Returns:
        Settings by column; ``updates``; ``dimensions`` of the features; ``loss``, the mean over the last tenth of the
        updates that were logged, about 200 a run; `METRICS` at the end, of features and, with ``projection_`` before
        the name, of projections; ``knn`` at the end and ``knn_best`` on the way; ``alarm_step``, the update of the
        first alarm of a `CollapseMonitor`, from 0, None without one; ``seconds`` of the process that finished it.

    Raises:
        ValueError: If the images cannot be used, the loss is not finite, or the folder holds another run.
        OSError: If a file is missing or damaged.

    Example:
        >>> row = run_study(StudyRun(width=2, limit=64, batch_size=16, epochs=1), "runs/first")
        >>> row["updates"], row["dimensions"]
        (4, 16)
    """
    begun, folder = time.perf_counter(), Path(out)
    if (folder / "row.json").is_file():
        return _finished(run, folder / "row.json")
    images = study_images(run.images, run.image_size, run.limit)
    torch.manual_seed(run.seed)
    backbone = build_backbone(
        "small_resnet",
        channels=images.train.images.shape[1],
        image_size=run.image_size,
        normalization=_normalization(images.train),
        width=run.width,
        depth="10",
        stem_stride=2,
    )
    known = inspect.signature(METHODS[run.method]).parameters
    heads = {name: value for name, value in _HEADS.items() if name in known}
    method = build_method(run.method, backbone, **heads, **ABLATIONS[run.ablation])

    count = max(2, round(run.share * len(images.train)))
    settings = PretrainSettings(
        epochs=run.epochs,
        batch_size=run.batch_size,
        base_learning_rate=run.base_learning_rate,
        weight_decay=5e-4,
        warmup_epochs=min(float(run.epochs), _WARMUP * run.batch_size / run.length),
        decay_share=0.0,
        seed=run.seed,
    )
    updates = settings.loop(run.length).updates
    log_every = max(1, updates // 200)
    monitor = CollapseMonitor(every=max(5, updates // 100), action="switch" if run.triggered else "warn")
    probe = StudyProbe(images)
    pretrain(
        method,
        images.train.subset(_chosen(images.train, count, run.seed)).images,
        settings,
        folder,
        schedule=_schedule(run, count),
        monitor=monitor,
        probe=probe,
        probe_every=log_every * max(1, updates // (_READINGS * log_every)),
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        config={"study": run.row()},
        progress=progress,
    )
    logged = read_metrics(folder)
    curve = [
        {"step": row["step"], "loss": row["loss"], **{name: row[name] for name in probe.names}}
        for row in logged
        if "knn" in row
    ]
    write_rows(folder / "curve.csv", curve)
    save_backbone(backbone, folder / "model")
    last = [row["loss"] for row in logged if row["step"] >= 0.9 * updates] or [logged[-1]["loss"]]
    row = {
        **run.row(),
        "updates": updates,
        "dimensions": backbone.num_features,
        "loss": math.fsum(last) / len(last),
        **{name: curve[-1][name] for name in probe.names},
        "knn_best": max(each["knn"] for each in curve),
        "alarm_step": monitor.alarms[0].step if monitor.alarms else None,
        "seconds": round(time.perf_counter() - begun, 2),
    }
    with atomic_write(folder / "row.json", "wb") as file:
        file.write((json.dumps(row, indent=1) + "\n").encode())
    return row


@lru_cache(maxsize=2)
def study_images(spec: str, size: int, limit: int) -> StudyImages:
    """Labeled images of a study in memory, gray where the first one is and in color otherwise.

    See `divided_images` for the two sides.

    Raises:
        ValueError: If the data set cannot be opened, has fewer than two classes, or has an image that cannot be used.
        OSError: If a file is missing.
    """
    train, test = divided_images(spec)
    channels = 1 if image_to_tensor(train[0][0]).shape[0] == 1 else 3
    images = StudyImages(
        image_tensors(train, size=size, channels=channels, limit=limit),
        image_tensors(test, size=size, channels=channels, limit=TESTED),
    )
    classes = torch.unique(images.train.labels).tolist()
    if len(classes) < 2:
        raise ValueError(
            f"images must have at least two classes, got only {train.classes[classes[0]]} in {len(images.train)} of "
            f"{spec}; an accuracy says nothing there"
        )
    return images


class StudyProbe:
    """Collapse metrics and k-NN accuracy of a method in evaluation mode; modes and buffers are left as they were."""

    def __init__(self, images: StudyImages):
        self._bank = images.train.subset(_chosen(images.train, MEASURED, 0))
        self._test = images.test
        self.names = (*METRICS, *(f"projection_{name}" for name in METRICS), "knn")
        """Columns that a call gives."""

    def __call__(self, method: nn.Module, update: int) -> dict[str, float]:
        """Measure a `SiameseMethod` after an update."""
        if not isinstance(method, SiameseMethod):
            raise TypeError(f"method must be a SiameseMethod, got {type(method).__name__}")
        features, projections = CollapseMeter(), CollapseMeter()
        with evaluating(method):
            bank = frozen_features(method.backbone, self._bank, 256)
            test = frozen_features(method.backbone, self._test, 256)
            features.update(bank)
            device = next(method.parameters()).device
            projections.update(method.get_submodule("projector")(bank.to(device)))
        reports = {"": features.compute(), "projection_": projections.compute()}
        metrics = {f"{space}{name}": float(getattr(own, name)) for space, own in reports.items() for name in METRICS}
        labels = self._bank.labels, self._test.labels
        return {**metrics, "knn": knn_accuracy(bank, labels[0], test, labels[1], k=min(20, len(bank)))}


def _schedule(run: StudyRun, size: int) -> Schedule:
    every = MultiEpoch(size, run.epochs, length=run.length, seed=run.seed)
    if run.schedule == "multi-epoch":
        return every
    continual = Continual(size, run.epochs, chunks=min(run.epochs, size), length=run.length, seed=run.seed)
    if run.schedule == "continual":
        return continual
    return Hybrid(continual, every, switch_at=round(run.switch_at * every.positions))


def _normalization(images: ImageTensors) -> Normalization:
    """Mean and deviation of each channel: those of ImageNet, on small images of one kind, bring collapse near."""
    pixels = images.batch(slice(0, 10_000)).double().movedim(1, 0).flatten(1)
    return Normalization(tuple(pixels.mean(1).tolist()), tuple((pixels.std(1) + 1e-3).tolist()))


def _chosen(images: ImageTensors, count: int, seed: int) -> list[int]:
    """Positions of so many images at most, ascending: a random choice with all classes in proportion."""
    return sorted(balanced_order(images.labels.tolist(), seed=seed)[:count])


def divided_images(spec: str) -> tuple[ImageDataset, ImageDataset]:
    """Training and test images: ``train`` and ``test`` or else ``val``; without splits a fifth is for tests.

    Raises:
        ValueError: If the data set cannot be opened, or has other splits alone.
        OSError: If a file is missing.
    """
    try:
        train = open_dataset(spec, split="train")
    except UndividedError:
        whole = open_dataset(spec)
        order = balanced_order(whole.labels.tolist(), seed=0)
        kept = max(1, len(whole) // 5)
        return whole.subset(sorted(order[kept:])), whole.subset(sorted(order[:kept]))
    try:
        return train, open_dataset(spec, split="test")
    except ValueError:
        return train, open_dataset(spec, split="val")


def _finished(run: StudyRun, path: Path) -> dict[str, Any]:
    row: dict[str, Any] = read_json(path, dict)
    other = [name for name, value in run.row().items() if row.get(name) != value]
    if other:
        raise ValueError(
            f"{path} is of a run with another {', '.join(other)}; give this one a folder of its own, or remove that"
        )
    return row
