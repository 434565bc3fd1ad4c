"""Arguments of the contrastive losses, checked once, in the form in which the losses compute with them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

Positives = tuple[Tensor, Tensor]
"""Ids of the images ``(B,)`` and of the texts ``(M,)``, int64 and at least 0; equal ids are positives. Images may have
several ids each, ``(B, K)`` filled up with -1: a text whose id is one of them is a positive."""
NO_GROUP = -1
"""The id of a column that is no image's positive."""
_NO_ID = -2
"""The id of a row that no column has; it fills up rows with several ids."""


def are_positives(row_ids: Tensor, column_ids: Tensor) -> Tensor:
    """Positives among rows ``(r,)`` or ``(r, K)`` and columns ``(c,)``: true ``(r, c)`` where they share an id."""
    if row_ids.ndim == 1:
        return row_ids[:, None] == column_ids
    shared = row_ids[:, :1] == column_ids
    for ids in row_ids.unbind(1)[1:]:
        shared |= ids[:, None] == column_ids
    return shared


class Inputs(NamedTuple):
    """Checked arguments: images are the rows of the matrix of logits, texts and extra negatives its columns."""

    images: Tensor
    """``(B, D)``."""
    columns: Tensor
    """``(M + N, D)``: the texts, then the extra negatives."""
    scale: Tensor
    """One number."""
    row_ids: Tensor
    """``(B,)`` or ``(B, K)`` int64."""
    column_ids: Tensor
    """``(M + N,)`` int64, `NO_GROUP` for extra negatives."""
    paired: bool
    """True if no ids were given, so that image i belongs to text i."""


def check_inputs(
    images: Tensor,
    texts: Tensor,
    scale: float | Tensor,
    positives: Positives | None,
    negatives: Tensor | None,
    tile: int = 1,
    *,
    check: bool = True,
) -> Inputs:
    """Check the arguments of a loss and bring them into one form; an error names the faulty one.

    Args:
        images: ``(B, D)`` of a floating type.
        texts: ``(M, D)`` of the same type and device; ``M = B`` unless ``positives`` are given.
        scale: One positive number.
        positives: Ids of the images and of the texts.
        negatives: ``(N, D)`` like ``texts``.
        tile: At least 1.
        check: False leaves out what reads the values, and so waits for a GPU.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a shape or value is not as above.
    """
    _check_features("images", images, None, check)
    _check_features("texts", texts, images, check)
    if negatives is not None:
        _check_features("negatives", negatives, images, check)
    if isinstance(tile, bool) or not isinstance(tile, int):
        raise TypeError(f"tile must be an integer, got {type(tile).__name__}; 512 suits most processors")
    if tile < 1:
        raise ValueError(f"tile must be at least 1, got {tile}; 512 suits most processors")
    scale = check_number("scale", scale, images, check)
    if check and float(scale.detach()) <= 0:
        raise ValueError(f"scale must be above 0, got {float(scale.detach()):g}; pass exp(logit_scale)")
    if positives is not None:
        row_ids, text_ids = _check_positives(positives, len(images), len(texts), images.device, check)
    elif len(images) == len(texts):
        row_ids = text_ids = torch.arange(len(images), device=images.device)
    else:
        raise ValueError(
            f"texts must have {len(images)} rows like images, got {len(texts)}; give positives=(image_ids, text_ids) "
            "if an image has several texts or none, and pass texts that belong to no image as negatives"
        )
    if negatives is None:
        return Inputs(images, texts, scale, row_ids, text_ids, positives is None)
    extra = text_ids.new_full((len(negatives),), NO_GROUP)
    with torch.autocast(images.device.type, enabled=False):  # joins tensors of its own type and float32 alone
        columns = torch.cat([texts, negatives])
    return Inputs(images, columns, scale, row_ids, torch.cat([text_ids, extra]), positives is None)


def check_number(name: str, value: float | Tensor, like: Tensor, check: bool) -> Tensor:
    """Return one number as a tensor on the device of ``like``; a tensor of one element keeps its graph."""
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"{name} must be one number, got shape {tuple(value.shape)}; select one element")
        number = value.reshape(())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = torch.tensor(float(value), dtype=_wide(like.dtype))
    else:
        raise TypeError(f"{name} must be a number or a tensor of one element, got {type(value).__name__}")
    number = number.to(like.device)
    if check and not bool(number.isfinite()):
        raise ValueError(f"{name} must be finite, got {float(number.detach())}; see if training diverged")
    return number


def computing_type(*tensors: Tensor) -> torch.dtype:
    """The type of the logits: float64 for float64 features, else float32."""
    return _wide(tensors[0].dtype)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _check_features(name: str, features: Tensor, like: Tensor | None, check: bool) -> None:
    if not isinstance(features, Tensor) or not features.is_floating_point():
        got = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise TypeError(f"{name} must be a floating tensor (rows, width), got {got}; pass the features of your model")
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            f"{name} must have shape (rows, width), neither zero, got {tuple(features.shape)}; pass one vector a row"
        )
    if like is not None:
        if features.shape[1] != like.shape[1]:
            raise ValueError(
                f"{name} must have width {like.shape[1]} like images, got {features.shape[1]}; project both alike"
            )
        if (features.dtype, features.device) != (like.dtype, like.device):
            raise ValueError(
                f"{name} must be {like.dtype} on {like.device} like images, got {features.dtype} on {features.device}; "
                "convert one of them with .to()"
            )
    if check and not bool(features.isfinite().all()):
        rows = (~features.isfinite().all(dim=1)).nonzero()[:, 0]
        raise ValueError(
            f"{name} must be finite, got NaN or infinity in {len(rows)} of {len(features)} rows, the first is row "
            f"{int(rows[0])}; check=False lets them through to a loss of NaN"
        )


def _check_positives(
    positives: Positives, images: int, texts: int, device: torch.device, check: bool
) -> tuple[Tensor, Tensor]:
    if not isinstance(positives, tuple | list) or len(positives) != 2:
        raise TypeError(
            f"positives must be a pair (image_ids, text_ids), got {type(positives).__name__}; equal ids are positives"
        )
    checked = []
    for name, ids, length in zip(("images", "texts"), positives, (images, texts), strict=True):
        if not isinstance(ids, Tensor) or ids.dtype != torch.int64:
            got = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
            raise TypeError(f"positives of {name} must be an int64 tensor, got {got}; convert it with .long()")
        several = name == "images" and ids.ndim == 2 and ids.shape[1] > 0
        if len(ids.shape) != 1 + several or len(ids) != length:
            raise ValueError(
                f"positives of {name} must have shape ({length},), one id a row of {name}, got {tuple(ids.shape)}; "
                "give every row an id"
            )
        if check and bool((ids < -int(several)).any()):
            raise ValueError(
                f"positives of {name} must be at least 0, got {int(ids.min())}; number the groups from 0, and pass "
                "texts without an image as negatives"
            )
        checked.append(ids.masked_fill(ids < 0, _NO_ID).to(device) if several else ids.to(device))
    return checked[0], checked[1]
