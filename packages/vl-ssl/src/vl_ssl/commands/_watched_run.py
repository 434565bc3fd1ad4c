"""One run of `vl-ssl train`: a method with a monitor and k-NN, spectra kept on the way."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from vl_core.runs import read_metrics

from vl_ssl.augmentation.recipes import RECIPES
from vl_ssl.backbones.building import build_backbone
from vl_ssl.charts.training import TrainingCurve
from vl_ssl.collapse.alarm import Alarm
from vl_ssl.collapse.monitor import CollapseError, CollapseMonitor
from vl_ssl.commands._training_images import TrainingImages
from vl_ssl.commands.settings.train import SMALL_RESNET, Train
from vl_ssl.methods.build import ABLATIONS, METHODS, build_method
from vl_ssl.methods.method import SiameseMethod
from vl_ssl.probes.offline import KNNProbe
from vl_ssl.schedules.chunks import Accumulate, Continual, MultiEpoch
from vl_ssl.schedules.hybrid import Hybrid
from vl_ssl.schedules.schedule import Schedule
from vl_ssl.training.pretrain import pretrain
from vl_ssl.training.settings import (
    PretrainSettings,
    byol_pretraining,
    moco_v3_pretraining,
    simsiam_pretraining,
)
from vl_ssl.training.watching import EndedByMonitor

SPECTRA = "spectra.jsonl"
"""File of spectra in the folder of a run, a line each."""

_SMALL_VIEWS = 32  # pixels
_PREDICTOR_HIDDEN = 64


@dataclass(frozen=True)
class WatchedRun:
    """A run that has ended."""

    curve: TrainingCurve
    """Its rows, spectra and alarms."""
    alarms: Sequence[Alarm]
    """Alarms with their readings."""
    method: SiameseMethod
    """The trained method."""
    stopped: bool
    """True if an alarm ended it."""
    test_size: int
    """Number of images that k-NN classifies; 0 without labels."""


def watched_run(settings: Train, images: TrainingImages, out: Path, *, without: str = "none") -> WatchedRun:
    """Train what a folder does not contain yet.

    Args:
        settings: Of the command.
        images: To train on, and for k-NN.
        out: Folder of the run.
        without: Part of the method that is left out.

    Raises:
        ValueError: If the settings do not go together, or the folder holds a run of others.
    """
    training = training_settings(settings)
    torch.manual_seed(settings.seed)
    method = new_method(settings, images, without)
    action = settings.action if without == "none" else "warn"
    monitor = CollapseMonitor(every=settings.read_every, rise=settings.rise, begin=settings.begin, action=action)
    recipe = settings.augmentation
    if recipe == "auto":
        recipe = "small" if images.size <= _SMALL_VIEWS else "mocov2"
    stopped = False
    try:
        pretrain(
            method,
            images.images,
            training,
            out,
            schedule=_schedule(settings, len(images.images), training.epochs),
            augmentation=RECIPES[recipe](images.size),
            monitor=monitor,
            probe=_Recorder(out / SPECTRA, monitor, images),
            probe_every=settings.probe_every,
            channels=images.channels,
            log_every=settings.read_every,
            config={
                "source": settings.images,
                "split": settings.split,
                "names": [len(images.names), _digest(images.names)],
                "without": without,
                "read_every": settings.read_every,
                "probe": [settings.probe_every, settings.probe_limit],
            },
        )
    except (CollapseError, EndedByMonitor):
        stopped = True
    name = settings.method if without == "none" else without.replace("-", " ", 1)
    steps = [alarm.step for alarm in monitor.alarms]
    curve = TrainingCurve(name, read_metrics(out), read_spectra(out / SPECTRA), steps)
    return WatchedRun(curve, tuple(monitor.alarms), method, stopped, 0 if images.test is None else len(images.test))


def training_settings(settings: Train) -> PretrainSettings:
    """The recipe with what was asked for instead."""
    recipe = _RECIPES[settings.recipe]
    asked = {"base_learning_rate": settings.learning_rate, "warmup_epochs": settings.warmup}
    asked |= {name: getattr(settings, name) for name in ("epochs", "batch_size", "optimizer", "weight_decay")}
    changes: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    epochs = changes.get("epochs", recipe.epochs)
    changes.setdefault("warmup_epochs", min(recipe.warmup_epochs, epochs / 10))
    names = ("accumulation", "precision", "workers", "seed")
    return replace(recipe, **changes, **{name: getattr(settings, name) for name in names})


def new_method(settings: Train, images: TrainingImages, without: str = "none") -> SiameseMethod:
    """The method over a new backbone, initialized from PyTorch's generator.

    Raises:
        ValueError: If there is no such backbone, or it does not take such images.
    """
    options: dict[str, Any] = {"image_size": images.size}
    if settings.backbone == SMALL_RESNET:
        options |= {"width": settings.width, "depth": settings.depth, "stem_stride": settings.stem_stride}
    backbone = build_backbone(settings.backbone, channels=images.channels, **options)
    known = inspect.signature(METHODS[settings.method]).parameters
    asked: dict[str, Any] = {
        "projection": settings.projection,
        "hidden": settings.hidden or backbone.num_features,
        "predictor_hidden": settings.predictor_hidden or _PREDICTOR_HIDDEN,
        "momentum": settings.target_momentum,
        "freeze_patch_embedding": settings.freeze_patch_embedding,
        **ABLATIONS[without],
    }
    chosen = {name: value for name, value in asked.items() if name in known and value is not None}
    return build_method(settings.method, backbone, **chosen)


def read_spectra(path: Path) -> dict[str, dict[int, list[float]]]:
    """Singular values by kind of features and update; where an update comes twice, the last line counts.

    Lines that an interruption cut are left out.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
            step = int(row.pop("step"))
        except (ValueError, KeyError, AttributeError):
            continue
        for space, values in row.items():
            found.setdefault(space, {})[step] = values
    return found


class _Recorder:
    """Accuracy of k-NN for the row of metrics; beside it the spectra of the monitor go to a file."""

    def __init__(self, path: Path, monitor: CollapseMonitor, images: TrainingImages):
        self._path, self._monitor = path, monitor
        self._knn: KNNProbe | None = None
        if images.bank is not None and images.test is not None:
            self._knn = KNNProbe(images.bank, images.test, k=min(20, len(images.bank)))

    def __call__(self, method: nn.Module, update: int) -> dict[str, float]:
        spectra = {space: report.singular_values for space, report in self._monitor.reports.items()}
        if spectra:
            rounded = {space: [float(f"{value:.6g}") for value in values] for space, values in spectra.items()}
            # The line break in front ends a line that an interruption has cut.
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps({"step": update, **rounded}) + "\n")
        if self._knn is None or not isinstance(method, SiameseMethod):
            return {}
        return {"knn": self._knn(method.backbone).accuracy}


def _schedule(settings: Train, size: int, epochs: int) -> Schedule:
    seed = settings.seed
    every = MultiEpoch(size, epochs, seed=seed)
    if settings.schedule == "multi-epoch":
        return every
    if settings.schedule == "accumulate":
        return Accumulate(size, epochs, chunks=settings.chunks, seed=seed)
    continual = Continual(size, epochs, chunks=settings.chunks, seed=seed)
    if settings.schedule == "continual":
        return continual
    share = settings.switch_share
    return Hybrid(continual, every, switch_at=None if share is None else round(share * every.positions))


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _small() -> PretrainSettings:
    """Settings for a small network on a CPU: a constant learning rate, as in continual training."""
    return PretrainSettings(
        epochs=20, batch_size=64, base_learning_rate=0.4, weight_decay=5e-4, warmup_epochs=1.0, decay_share=0.0
    )


_RECIPES: Mapping[str, PretrainSettings] = {
    "small": _small(),
    "simsiam": simsiam_pretraining(),
    "byol": byol_pretraining(),
    "moco-v3": moco_v3_pretraining(),
    "moco-v3-vit": moco_v3_pretraining(vit=True),
}
