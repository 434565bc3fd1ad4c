"""Argument checks shared by all feature evaluations."""

from __future__ import annotations

import torch
from torch import Tensor


def check_features(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the four tensors, detached and on the device of ``train_features``; an error names the faulty one.

    Args:
        train_features: ``(n, d)`` of a floating type, finite, ``n >= 1``.
        train_labels: ``(n,)`` integers of at least two values.
        test_features: ``(m, d)`` like ``train_features``, ``m >= 1``.
        test_labels: ``(m,)`` integers.

    Raises:
        TypeError: If an argument is not a tensor of that type.
        ValueError: If a shape, a value or the number of classes is not as above.
    """
    for side, features, labels in (("train", train_features, train_labels), ("test", test_features, test_labels)):
        _check_side(side, features, labels)
    if test_features.shape[1] != train_features.shape[1]:
        raise ValueError(
            f"test_features must have {train_features.shape[1]} columns like train_features, "
            f"got {test_features.shape[1]}; extract both with the same model"
        )
    if bool((train_labels == train_labels[0]).all()):
        raise ValueError(f"train_labels must hold at least two classes, got only {int(train_labels[0])}")
    device = train_features.device
    return (
        train_features.detach(),
        train_labels.to(device, torch.int64),
        test_features.detach().to(device),
        test_labels.to(device, torch.int64),
    )


def distinct(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct values of ``labels`` ``(n,)``, ascending, and the index of each label among them."""
    values, places = torch.unique(labels, return_inverse=True)
    return values, places


def _check_side(side: str, features: Tensor, labels: Tensor) -> None:
    if not isinstance(features, Tensor) or not features.is_floating_point():
        got = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise TypeError(f"{side}_features must be a floating tensor, got {got}")
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"{side}_labels must be an integer tensor, got {got}")
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"{side}_features must have shape (n, d) with n and d above zero, got {tuple(features.shape)}")
    if labels.shape != features.shape[:1]:
        raise ValueError(
            f"{side}_labels must have shape ({len(features)},), one a row of {side}_features, got {tuple(labels.shape)}"
        )
    broken = ~features.isfinite().all(dim=1)
    if bool(broken.any()):
        raise ValueError(
            f"{side}_features must be finite, got NaN or infinity in {int(broken.sum())} of {len(features)} rows, "
            f"the first is row {int(broken.int().argmax())}"
        )
