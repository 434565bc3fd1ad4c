"""Train and measure methods: one row per method and seed, written as each run ends, and the predictions behind it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from vl_core.data import ImageDataset
from vl_core.files import read_tensors
from vl_core.results import append_row, read_rows
from vl_core.runs.processes import current_process

from vl_attention.classifiers.ensemble import mix
from vl_attention.classifiers.saved_models import save_classifier
from vl_attention.comparison.methods import ENSEMBLE, ENSEMBLE_MEMBERS, Method
from vl_attention.comparison.peak_memory import peak_memory
from vl_attention.comparison.subsets import stratified_indices
from vl_attention.models.normalization import Normalization
from vl_attention.training.supervised import predict, train

COLUMNS = ("method", "seed", "labels", "epochs", "accuracy", "seconds", "peak_mb")


def compare(
    teacher: nn.Module,
    train_set: ImageDataset,
    test_set: ImageDataset,
    methods: Sequence[Method],
    out: str | os.PathLike[str],
    *,
    labels: int | None,
    seeds: Sequence[int],
    size: tuple[int, int],
    channels: int = 3,
    normalization: Normalization | None = None,
    progress: bool = True,
) -> list[dict[str, str]]:
    """Train each method with each seed on a few labels, and measure its accuracy on the test set; rerun to resume.

    Writes ``transfer.csv`` in ``out`` (`COLUMNS`; ``accuracy`` is a fraction, ``seconds`` the training time of the last
    invocation, ``peak_mb`` the peak memory), and a folder for each run, ``runs/<method>-<seed>``, with its run folder,
    the trained ``model`` (see `save_classifier`) and ``predictions.safetensors``: ``logits`` ``(n, num_classes)`` and
    ``labels`` of the test set. The seed determines labels, weights and the order of images, equally for all methods. If
    both fine-tuning and distillation are compared, a row ``ensemble`` follows.

    Args:
        teacher: A pre-trained timm model.
        train_set: Images of which a few keep their labels.
        test_set: Test images; those without a label are left out.
        methods: Methods to compare.
        out: Folder of the comparison.
        labels: Number of labels over all classes, equally many per class; None for all that there are.
        seeds: Seeds of the runs.
        size: Height and width that images are resized to.
        channels: 1 for grayscale, 3 for color.
        normalization: Normalization of images in 0..1 for all models; default: the teacher's.
        progress: Show progress bars.

    Returns:
        The rows of ``transfer.csv``.

    Raises:
        ValueError: If there are not enough labels, no test image has one, or ``out`` holds other runs with these names.
    """
    out, num_classes = Path(out), len(train_set.classes)
    normalization = normalization or Normalization.of(teacher)
    table = out / "transfer.csv"
    test_set = test_set.subset(np.flatnonzero(test_set.labels >= 0))
    if not len(test_set):
        raise ValueError("test_set must hold labeled images, got none with a label")
    for seed in seeds:
        few = train_set.subset(
            np.flatnonzero(train_set.labels >= 0)
            if labels is None
            else stratified_indices(train_set.labels.tolist(), labels, seed)
        )
        for method in methods:
            if _is_done(table, method.name, seed, len(few), method.settings.epochs):
                continue
            run = run_folder(out, method.name, seed)
            settings = replace(method.settings, seed=seed)
            started = time.perf_counter()
            with peak_memory() as peak:
                model = method.build(teacher, num_classes, seed, normalization)
                train(
                    model, few, settings, run / "training", num_classes=num_classes, size=size, channels=channels,
                    progress=progress, description=f"{method.name}, seed {seed}",
                )  # fmt: skip
            seconds = time.perf_counter() - started
            if not current_process().is_main:
                continue
            predictions = predict(model, test_set, settings, size=size, channels=channels)
            # Classes of one name, such as ImageNet's two cranes, can be told apart by their numbers alone.
            unique = len(set(train_set.classes)) == num_classes
            save_classifier(model, run / "model", classes=train_set.classes if unique else ())
            save_file(dict(zip(("logits", "labels"), predictions, strict=True)), run / "predictions.safetensors")
            _write(
                table, method.name, seed, len(few), settings.epochs, _accuracy(*predictions), seconds, peak.megabytes
            )
        names = {method.name for method in methods}
        if (
            set(ENSEMBLE_MEMBERS) <= names
            and current_process().is_main
            and not _is_done(table, ENSEMBLE, seed, len(few), 0)
        ):
            predictions = ensemble_predictions(out, seed)
            _write(table, ENSEMBLE, seed, len(few), 0, _accuracy(*predictions), 0.0, 0.0)
    return read_rows(table) if table.exists() else []


def run_folder(out: str | os.PathLike[str], method: str, seed: int) -> Path:
    """Folder of one run's files."""
    return Path(out) / "runs" / f"{method}-{seed}"


def read_predictions(out: str | os.PathLike[str], method: str, seed: int) -> tuple[Tensor, Tensor]:
    """Read logits ``(n, num_classes)`` and labels ``(n,)`` of the test set, for a run or the ensemble."""
    if method == ENSEMBLE:
        return ensemble_predictions(out, seed)
    path = run_folder(out, method, seed) / "predictions.safetensors"
    found = read_tensors(path)
    logits, labels = found.get("logits"), found.get("labels")
    if logits is None or labels is None or logits.ndim != 2 or labels.shape != logits.shape[:1]:
        shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
        raise ValueError(f"{path} must hold logits (n, num_classes) and labels (n,), got {str(shapes)[:200]}")
    return logits, labels


def ensemble_predictions(out: str | os.PathLike[str], seed: int) -> tuple[Tensor, Tensor]:
    """Logarithm of the members' mean probabilities ``(n, num_classes)``, and labels ``(n,)``."""
    members = [read_predictions(out, name, seed) for name in ENSEMBLE_MEMBERS]
    log_probabilities = torch.stack([logits.log_softmax(-1) for logits, _ in members])
    return mix(log_probabilities, torch.full((len(members),), 1 / len(members))), members[0][1]


def _accuracy(scores: Tensor, labels: Tensor) -> float:
    return float((scores.argmax(-1) == labels).double().mean())


def _is_done(table: Path, method: str, seed: int, labels: int, epochs: int) -> bool:
    """True if the table has this row; raises if the row has another number of labels or epochs."""
    rows = read_rows(table) if table.exists() else []
    found = next((row for row in rows if (row["method"], row["seed"]) == (method, str(seed))), None)
    if found is not None and (found["labels"], found["epochs"]) != (str(labels), str(epochs)):
        raise ValueError(
            f"{table} holds {method} with seed {seed} for {found['labels']} labels and {found['epochs']} epochs, "
            f"expected {labels} and {epochs}; choose another folder"
        )
    return found is not None


def _write(table: Path, *values: Any) -> None:
    method, seed, labels, epochs, accuracy, seconds, peak = values
    numbers = f"{accuracy:.4f}", f"{seconds:.1f}", f"{peak:.0f}"
    append_row(table, dict(zip(COLUMNS, (method, seed, labels, epochs, *numbers), strict=True)))
