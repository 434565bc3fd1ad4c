"""Sigmoid loss between images and texts, exact, without the matrix of logits.

Zhai et al. (2023, SigLIP, equation 1 and algorithm 1): every image and text are a binary decision of their own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vl_vlm.losses.inputs import Positives, check_inputs, check_number, computing_type
from vl_vlm.losses.ring import Ring, agree
from vl_vlm.losses.tiles import Tile, spans, visit_tiles, wide_type


class _Plan(NamedTuple):
    """Arguments of the two passes beside tensors that have gradients."""

    row_ids: Tensor
    column_ids: Tensor
    ring: Ring
    columns: list[int]
    """Number of columns of each rank."""
    images: int
    """Number of images of all ranks."""
    tile: int


def sigmoid_loss(
    images: Tensor,
    texts: Tensor,
    scale: float | Tensor,
    bias: float | Tensor = 0.0,
    *,
    positives: Positives | None = None,
    negatives: Tensor | None = None,
    tile: int = 512,
    group: dist.ProcessGroup | None = None,
    check: bool = True,
) -> Tensor:
    """Sigmoid loss of image and text features: over all pairs, divided by the number of images.

    ``-1/B sum_ij log sigmoid(z_ij (scale * <images_i, texts_j> + bias))`` with ``z_ij = 1`` for positives and -1 for
    all other pairs. Zhai et al. (2023, equation 1). A mean over all pairs would be ``M`` times less.

    Memory beyond the features and their gradients is a few tiles; only the features, the scale, the bias and the ids
    are saved for the backward pass. Logits are float32 (float64 for float64 features), sums over tiles float64.

    Args:
        images: ``(B, D)``, of unit length for cosine similarities; they are taken as they are.
        texts: ``(M, D)`` like ``images``; without ``positives``, text ``i`` belongs to image ``i`` and ``M = B``.
        scale: Inverse temperature, a number or a tensor of one element, ``exp(logit_scale)`` of most models.
        bias: Added to every logit, a number or a tensor of one element, ``logit_bias`` of most models.
        positives: Ids ``(B,)`` or ``(B, K)`` of the images and ``(M,)`` of the texts, as in
            `vl_vlm.losses.info_nce.info_nce`.
        negatives: ``(N, D)`` texts that belong to no image.
        tile: Rows and columns of a tile.
        group: Processes whose batches form one batch (`torch.distributed`); each gives its own images, texts and
            negatives, as many as it has. Ids mean the same on all. None: this process alone.
        check: False accepts features without reading them, which avoids waiting for a GPU.

    Returns:
        Loss in nats, a scalar. In a group it is the loss of the whole batch, on every rank, with gradients as in
        `vl_vlm.losses.info_nce.info_nce`: their mean over ranks is the gradient of one process with the whole batch.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If shapes, types or ids do not fit, or features are not finite.

    Example:
        >>> x = torch.eye(2)
        >>> round(sigmoid_loss(x, x, 1.0).item(), 4)
        1.0064
    """
    ring = Ring(group)
    offset: list[Tensor] = []

    def checked() -> Any:
        inputs = check_inputs(images, texts, scale, positives, negatives, tile, check=check)
        offset.append(check_number("bias", bias, images, check))
        return inputs

    inputs, counts, columns = agree(ring, checked)
    plan = _Plan(inputs.row_ids, inputs.column_ids, ring, columns, sum(counts), tile)
    loss: Tensor = _Sigmoid.apply(inputs.images, inputs.columns, inputs.scale, offset[0], plan)
    return loss


class _Sigmoid(torch.autograd.Function):
    """The loss and its gradients from tiles."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, columns: Tensor, scale: Tensor, bias: Tensor, plan: _Plan) -> Tensor:
        dtype, wide = computing_type(images), wide_type(images.device)
        loss = torch.zeros((), dtype=wide, device=images.device)
        block, ids = columns, plan.column_ids
        with torch.autocast(images.device.type, enabled=False):
            for hop in range(plan.ring.size):
                for tile in visit_tiles(images, plan.row_ids, block, ids, scale.to(dtype), plan.tile, dtype):
                    # The threshold of softplus by default, 20, costs float64 half of its digits.
                    loss += F.softplus(_against(tile, bias), threshold=50).sum(dtype=wide)
                if hop + 1 < plan.ring.size:
                    block, ids = plan.ring.pass_on([block, ids], plan.columns[plan.ring.owner(hop + 1)])
        ctx.plan = plan
        ctx.save_for_backward(images, columns, scale, bias)
        return (plan.ring.total(loss) / plan.images).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        images, columns, scale, bias = ctx.saved_tensors
        plan: _Plan = ctx.plan
        dtype, wide = computing_type(images), wide_type(images.device)
        rows, sides = torch.zeros_like(images, dtype=dtype), torch.zeros_like(columns, dtype=dtype)
        numbers = torch.zeros(2, dtype=wide, device=images.device)
        block, ids = columns, plan.column_ids
        with torch.autocast(images.device.type, enabled=False):
            for hop in range(plan.ring.size):
                for tile in visit_tiles(images, plan.row_ids, block, ids, scale.to(dtype), plan.tile, dtype):
                    gradient = _against(tile, bias).sigmoid_()
                    if tile.positive is not None:
                        gradient = torch.where(tile.positive, -gradient, gradient)
                    numbers[1] += gradient.sum(dtype=wide)
                    rows[tile.row].addmm_(gradient, tile.columns)
                    sides[tile.column].addmm_(gradient.T, tile.images)
                rows_there = plan.columns[plan.ring.owner(hop + 1)]
                if hop + 1 < plan.ring.size:
                    block, ids, sides = plan.ring.pass_on([block, ids, sides], rows_there)
                else:
                    (sides,) = plan.ring.pass_on([sides], rows_there)
            for part in spans(len(images), plan.tile):
                numbers[0] += (rows[part] * images[part]).sum(dtype=wide)
        factor = upstream / plan.images
        numbers = plan.ring.total(numbers) * factor
        rows *= factor * scale * plan.ring.size
        sides *= factor * plan.ring.size
        return (
            rows.to(images.dtype),
            sides.to(columns.dtype),
            numbers[0].to(scale.dtype),
            numbers[1].to(bias.dtype),
            None,
        )


def _against(tile: Tile, bias: Tensor) -> Tensor:
    """Logits against the truth: of negatives as they are, of positives with their sign changed."""
    logits = tile.logits.add_(bias.to(tile.logits.dtype))
    return logits if tile.positive is None else torch.where(tile.positive, -logits, logits)
