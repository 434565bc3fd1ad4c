"""Supervised training of students and plain classifiers, and their predictions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from vl_core.runs.processes import current_process
from vl_core.training import computing, fit

from vl_attention.models.inference import eval_mode, is_transformers_model
from vl_attention.training.augmentation import AugmentedImages, Images, Mixing, PlainImages
from vl_attention.training.identity import model_identity
from vl_attention.training.parameters import adamw
from vl_attention.training.settings import TrainSettings
from vl_attention.transfer.attention_transfer import DEFAULT_WEIGHTS


def train(
    model: Any,
    dataset: Images,
    settings: TrainSettings,
    out: str | os.PathLike[str],
    *,
    num_classes: int,
    size: tuple[int, int],
    channels: int = 3,
    checkpoint_every: int = 500,
    log_every: int = 50,
    progress: bool = True,
    description: str = "train",
) -> None:
    """Train ``model.student`` in place; rerun with the same arguments to resume.

    A resumed run ends with exactly the weights of an uninterrupted one. ``settings.workers`` and ``settings.compile``
    may change when a run is resumed, although compiled blocks round differently.

    Metrics, every ``log_every`` updates: ``loss``, which is minimized; ``task_loss`` (cross-entropy, nats);
    ``transfer_loss`` (sum over layers, before its weight); ``learning_rate`` (of the head).

    Args:
        model: An `AttentionTransfer` or a `Classifier`.
        dataset: PIL images with labels ``0..num_classes - 1``.
        settings: Training settings.
        out: Folder of the run: settings, metrics, TensorBoard events, checkpoint.
        num_classes: Number of classes.
        size: Height and width that images are resized to.
        channels: 1 for grayscale, 3 for color.
        checkpoint_every: Maximum number of updates between checkpoints; one is written every minute in any case.
        log_every: Updates between rows of metrics.
        progress: Show a progress bar.
        description: Label of the progress bar.

    Raises:
        ValueError: If there are no images, the batch size is not divisible, or an odd number of images would be mixed;
            if the loss or a weight is not finite; or if the folder holds a run with other settings, another kind of
            model or mode, or another teacher.
    """
    mix, weight = Mixing(settings, num_classes), settings.transfer_weight
    if weight is None:
        weight = DEFAULT_WEIGHTS.get(getattr(model, "mode", ""), 1.0)  # other models have no transfer loss

    def loss(prepared: nn.Module, batch: Sequence[Tensor], number: int) -> Mapping[str, Tensor]:
        images, labels = batch
        images, targets = mix(images, labels, number)
        output = prepared(images)
        task = -(targets * output.logits.float().log_softmax(-1)).sum(-1).mean()
        transfer = output.transfer_loss.float()
        return {"loss": task + weight * transfer, "task_loss": task, "transfer_loss": transfer}

    if not len(dataset):
        raise ValueError("images must hold at least one image")
    if settings.mixup or settings.cutmix:
        _check_even(settings)
    if settings.compile:
        model.compile_blocks()
    fit(
        model,
        AugmentedImages(dataset, settings, size, channels, model.student_normalization.mean),
        loss,
        settings.loop(len(dataset)),
        out,
        trained=model.student,
        optimizer=adamw(model.student, settings, settings.layer_decay),
        config={
            **settings.config(),
            "images": len(dataset),
            "size": list(size),
            "channels": channels,
            "num_classes": num_classes,
            "transfer_weight": weight,
            "model": model_identity(model),
        },
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        progress=progress,
        description=description,
        # A student that copies may have unused position embeddings.
        find_unused=is_transformers_model(model.student) or getattr(model, "needs_teacher", False),
    )


@torch.no_grad()
def predict(
    model: Any,
    dataset: Images,
    settings: TrainSettings,
    *,
    size: tuple[int, int],
    channels: int = 3,
    batch_size: int = 256,
) -> tuple[Tensor, Tensor]:
    """Predict logits ``(n, num_classes)`` and return them with the labels ``(n,)``; the model's mode is restored."""
    device = next(model.parameters()).device
    logits, labels = [], []
    prepared: Dataset[tuple[Tensor, int]] = PlainImages(dataset, size, channels)
    with eval_mode(model):
        for images, truth in DataLoader(prepared, batch_size=batch_size, num_workers=settings.workers):
            with computing(settings.precision, device, math_attention=settings.math_attention):
                logits.append(model(images.to(device)).logits.float().cpu())
            labels.append(truth)
    return torch.cat(logits), torch.cat(labels)


def _check_even(settings: TrainSettings) -> None:
    """Raise unless each pass has an even number of images, since mixup and CutMix mix them in pairs."""
    processes = current_process().count
    passes = settings.accumulation * processes
    if settings.batch_size % (2 * passes):
        raise ValueError(
            "batch_size must give an even number of images to each pass of each process, since mixup and CutMix mix "
            f"them in pairs, got {settings.batch_size} over {processes} processes times accumulation "
            f"{settings.accumulation}; take a multiple of {2 * passes}, or mixup=0 and cutmix=0"
        )
