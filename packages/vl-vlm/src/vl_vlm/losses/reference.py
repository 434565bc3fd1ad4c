"""Contrastive losses from the whole matrix of logits: clear, quadratic in memory; they define what is right."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vl_vlm.losses.inputs import Inputs, Positives, are_positives, check_inputs, check_number, computing_type
from vl_vlm.losses.targets import Direction, check_direction, no_positives


def dense_info_nce(
    images: Tensor,
    texts: Tensor,
    scale: float | Tensor,
    *,
    positives: Positives | None = None,
    negatives: Tensor | None = None,
    direction: Direction = "both",
) -> Tensor:
    """InfoNCE loss of `info_nce`, from the whole matrix of logits.

    Arguments, result and errors are those of `vl_vlm.losses.info_nce.info_nce` without tiles and process groups; memory
    grows with ``B (M + N)``.

    Example:
        >>> x = torch.eye(2)
        >>> round(dense_info_nce(x, x, 1.0).item(), 4)
        0.3133
    """
    check_direction(direction)
    inputs = check_inputs(images, texts, scale, positives, negatives)
    logits, positive = _logits(inputs)
    losses = []
    for name, values, mask in (("image_to_text", logits, positive), ("text_to_image", logits.T, positive.T)):
        if direction in ("both", name):
            count = mask.sum(dim=1)
            if not bool(count.any()):
                raise no_positives()
            found = count > 0
            log_probs = values.log_softmax(dim=1).masked_fill(~mask, 0.0).sum(dim=1)
            losses.append(-(log_probs[found] / count[found]).mean())
    return torch.stack(losses).mean()


def dense_sigmoid_loss(
    images: Tensor,
    texts: Tensor,
    scale: float | Tensor,
    bias: float | Tensor = 0.0,
    *,
    positives: Positives | None = None,
    negatives: Tensor | None = None,
) -> Tensor:
    """Sigmoid loss of `sigmoid_loss`, from the whole matrix of logits.

    Arguments, result and errors are those of `vl_vlm.losses.sigmoid.sigmoid_loss` without tiles and process groups;
    memory grows with ``B (M + N)``.

    Example:
        >>> x = torch.eye(2)
        >>> round(dense_sigmoid_loss(x, x, 1.0).item(), 4)
        1.0064
    """
    inputs = check_inputs(images, texts, scale, positives, negatives)
    logits, positive = _logits(inputs)
    logits = logits + check_number("bias", bias, images, True)
    return -F.logsigmoid(torch.where(positive, logits, -logits)).sum() / len(images)


def _logits(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Scaled products of every image with every column, and True where the two are positives; both ``(B, M + N)``."""
    dtype = computing_type(inputs.images)
    logits = inputs.scale * (inputs.images.to(dtype) @ inputs.columns.to(dtype).T)
    return logits, are_positives(inputs.row_ids, inputs.column_ids)
