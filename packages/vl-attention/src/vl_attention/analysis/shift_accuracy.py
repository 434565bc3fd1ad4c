"""Accuracy of a classifier under image shifts: noise, blur, rotation, occlusion and others, at five severities.

The shifts are those of `vl_core.corruptions.shift`, whose strengths are our own: accuracies are comparable with each
other but not with ImageNet-C's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from vl_core.corruptions import SHIFTS, Shift, shift
from vl_core.results import wilson_interval

from vl_attention.models.inference import check_images, eval_mode, get_logits


@dataclass(frozen=True)
class ShiftAccuracy:
    """Accuracy of a classifier under one shift at one severity."""

    shift: str
    severity: int
    """0 for the unchanged images."""
    correct: int
    total: int
    accuracy: float
    """Fraction of correct predictions, 0 to 1."""
    low: float
    """Lower end of Wilson's 95 % interval."""
    high: float
    """Upper end of Wilson's 95 % interval."""


def evaluate_shifts(
    predict: Callable[[Tensor], Any],
    images: Tensor,
    labels: Tensor,
    shifts: Sequence[str] | Mapping[str, Shift] | None = None,
    severities: Sequence[int] = (0, 1, 2, 3, 4, 5),
    seed: int = 0,
    *,
    batch_size: int = 64,
) -> list[ShiftAccuracy]:
    """Measure a classifier's accuracy under each shift and severity.

    Args:
        predict: Maps images ``(B, C, H, W)`` in 0..1 to logits ``(B, num_classes)``, or to an output with ``logits``:
            an `AttentionTransfer`, an `Ensemble`, ``lambda x: model(normalization(x))``. A module is put into
            evaluation mode temporarily.
        images: ``(N, C, H, W)``, floats in 0..1.
        labels: int64 ``(N,)``.
        shifts: Names in `vl_core.corruptions.SHIFTS`, or functions by name; default: all of `SHIFTS`. To add
            your own: ``{**SHIFTS, "fog": fog}``.
        severities: Whole numbers from 0 to 5. Images of severity 0 are evaluated once.
        seed: Seed of the shifts.
        batch_size: Images per forward pass; it does not change the shifts.

    Raises:
        ValueError: If images and labels differ in number or are empty, or a shift or severity does not exist.
    """
    check_images(images)
    if len(images) != len(labels) or not len(images):
        raise ValueError(
            f"images and labels must have the same length, at least 1, got {len(images)} and {len(labels)}"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if isinstance(shifts, str):
        raise ValueError(f"shifts must be a list of names, got {shifts!r}; pass [{shifts!r}]")
    if shifts is not None and not isinstance(shifts, Mapping) and (unknown := [n for n in shifts if n not in SHIFTS]):
        raise ValueError(f"shifts must be among {', '.join(SHIFTS)}, or a mapping to functions; got {unknown}")
    wrong = [severity for severity in severities if isinstance(severity, bool) or severity not in range(6)]
    if wrong:
        raise ValueError(f"severities must be whole numbers from 0 (unchanged) to 5, got {wrong}")
    chosen = SHIFTS if shifts is None else shifts if isinstance(shifts, Mapping) else {n: SHIFTS[n] for n in shifts}
    rows: list[ShiftAccuracy] = []
    unchanged: int | None = None
    with torch.no_grad(), eval_mode(predict) if isinstance(predict, nn.Module) else nullcontext():
        for name, function in chosen.items():
            for severity in severities:
                if severity == 0 and unchanged is not None:
                    correct = unchanged
                else:
                    correct = 0
                    for start in range(0, len(images), batch_size):
                        part = slice(start, start + batch_size)
                        ids = range(len(images))[part]
                        changed = shift(images[part], name, severity, seed=seed, image_ids=ids, function=function)
                        predictions = _logits(predict(changed)).argmax(-1)
                        correct += int((predictions.cpu() == labels[part].cpu()).sum())
                    unchanged = correct if severity == 0 else unchanged
                total = len(images)
                interval = wilson_interval(correct, total)
                rows.append(ShiftAccuracy(name, severity, correct, total, correct / total, *interval))
    return rows


def _logits(output: Any) -> Tensor:
    # A TransferOutput is also a tuple of tensors, not all of them logits.
    return get_logits(getattr(output, "logits", output))
