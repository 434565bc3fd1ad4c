"""InfoNCE between images and texts, exact, without the matrix of logits.

Radford et al. (2021, section 2.3, figure 3), with several positives as in Khosla et al. (2020, equation 2). One sweep
of tiles gives the log-sum-exp of every row and of every column; the backward pass computes the tiles again.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from vl_vlm.losses.inputs import Positives, check_inputs, computing_type
from vl_vlm.losses.ring import Ring, agree
from vl_vlm.losses.targets import Direction, check_direction, no_positives
from vl_vlm.losses.tiles import spans, visit_tiles, wide_type


class _Plan(NamedTuple):
    """Arguments of the two passes beside tensors that have gradients."""

    row_ids: Tensor
    column_ids: Tensor
    ring: Ring
    columns: list[int]
    """Number of columns of each rank."""
    sides: tuple[bool, bool]
    """Losses that count: of rows (image to text), of columns (text to image)."""
    tile: int


def info_nce(
    images: Tensor,
    texts: Tensor,
    scale: float | Tensor,
    *,
    positives: Positives | None = None,
    negatives: Tensor | None = None,
    direction: Direction = "both",
    tile: int = 512,
    group: dist.ProcessGroup | None = None,
    check: bool = True,
) -> Tensor:
    """InfoNCE loss of image and text features, the mean of both directions.

    With logits ``s_ij = scale * <images_i, texts_j>`` and the positives ``P(i)`` of image ``i``, the loss from image to
    text is the mean over the images that have positives of ``-1/|P(i)| sum_{j in P(i)} log softmax_j(s_i)``, the
    cross-entropy to the uniform distribution over ``P(i)``: no positive is ever a negative. Negatives take part in the
    softmax over texts alone. Radford et al. (2021, figure 3); Khosla et al. (2020, equation 2).

    Memory beyond the features and their gradients is a few tiles; saved for the backward pass are the features, the
    scale, and a few numbers a row and a column. Logits are float32 (float64 for float64 features), sums over tiles
    float64.

    Args:
        images: ``(B, D)``, of unit length for cosine similarities; they are taken as they are.
        texts: ``(M, D)`` like ``images``; without ``positives``, text ``i`` belongs to image ``i`` and ``M = B``.
        scale: Inverse temperature, a number or a tensor of one element, ``exp(logit_scale)`` of most models.
        positives: Ids ``(B,)`` of the images and ``(M,)`` of the texts, int64 and at least 0; an image and a text with
            equal ids are positives, such as several captions of an image. Images may have several ids each, ``(B, K)``
            filled up with -1, such as the captions that are known to be true of them.
        negatives: ``(N, D)`` texts that belong to no image.
        direction: ``"image_to_text"`` or ``"text_to_image"`` for one of the two losses.
        tile: Rows and columns of a tile.
        group: Processes whose batches form one batch (`torch.distributed`); each gives its own images, texts and
            negatives, as many as it has. Ids mean the same on all. None: this process alone.
        check: False accepts features without reading them, which avoids waiting for a GPU.

    Returns:
        Loss in nats, a scalar. In a group it is the loss of the whole batch, on every rank; the gradients of the
        features are multiplied by the number of ranks and that of the scale is the whole one, so that the mean over
        ranks, which DistributedDataParallel takes, is the gradient of one process with the whole batch. Call
        ``backward`` on all ranks.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If shapes, types or ids do not fit, features are not finite, or no image and text are positives.

    Example:
        >>> x = torch.eye(2)
        >>> round(info_nce(x, x, 1.0).item(), 4)
        0.3133
    """
    check_direction(direction)
    ring = Ring(group)
    inputs, _, columns = agree(
        ring,
        lambda: check_inputs(images, texts, scale, positives, negatives, tile, check=check),
        ("both", "image_to_text", "text_to_image").index(direction),
    )
    sides = direction != "text_to_image", direction != "image_to_text"
    plan = _Plan(inputs.row_ids, inputs.column_ids, ring, columns, sides, tile)
    loss: Tensor = _InfoNCE.apply(inputs.images, inputs.columns, inputs.scale, plan)
    return loss


class _InfoNCE(torch.autograd.Function):
    """The loss and its gradients from tiles."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, columns: Tensor, scale: Tensor, plan: _Plan) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            rows, sides = _sums(images, columns, scale, plan)
        losses, statistics = [], []
        counts = torch.stack([(values[:, 2] > 0).sum() for values in (rows, sides)])
        paired = plan.ring.total(counts).tolist()
        if not min(paired):
            raise no_positives()
        for values, number, used in zip((rows, sides), paired, plan.sides, strict=True):
            log_sum, product, count = values.unbind(1)
            weight = (count > 0).to(count.dtype) * (used / (number * sum(plan.sides)))
            target = weight / count.clamp(min=1)
            losses.append((weight * log_sum - target * product).sum() if used else product.new_zeros(()))
            statistics.append(torch.stack([log_sum, weight, target], dim=1))
        ctx.plan = plan
        ctx.save_for_backward(images, columns, scale, *statistics)
        return plan.ring.total(losses[0] + losses[1]).to(computing_type(images))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        images, columns, scale, rows, sides = ctx.saved_tensors
        plan: _Plan = ctx.plan
        with torch.autocast(images.device.type, enabled=False):
            row_gradient, column_gradient = _gradients(images, columns, scale, rows, sides, plan)
            scale_gradient = torch.zeros((), dtype=wide_type(images.device), device=images.device)
            for part in spans(len(images), plan.tile):
                scale_gradient += (row_gradient[part] * images[part]).sum(dtype=scale_gradient.dtype)
        scale_gradient = plan.ring.total(scale_gradient) * upstream
        row_gradient *= upstream * scale * plan.ring.size
        column_gradient *= upstream * plan.ring.size
        return (
            row_gradient.to(images.dtype),
            column_gradient.to(columns.dtype),
            scale_gradient.to(scale.dtype),
            None,
        )


def _sums(images: Tensor, columns: Tensor, scale: Tensor, plan: _Plan) -> tuple[Tensor, Tensor]:
    """Log-sum-exp, sum of the positives' logits and number of positives: ``(B, 3)`` of rows, ``(C, 3)`` of columns."""
    dtype, wide = computing_type(images), wide_type(images.device)
    start = torch.tensor([-math.inf, 0.0, 0.0], dtype=wide, device=images.device)
    rows, sides = start.repeat(len(images), 1), start.repeat(len(columns), 1)
    block, ids = columns, plan.column_ids
    for hop in range(plan.ring.size):
        for tile in visit_tiles(images, plan.row_ids, block, ids, scale.to(dtype), plan.tile, dtype):
            parts = rows[tile.row], sides[tile.column]
            if tile.positive is not None:
                logits = tile.logits.masked_fill(~tile.positive, 0.0)
                for dim, part in zip((1, 0), parts, strict=True):
                    part[:, 1] += logits.sum(dim=dim, dtype=wide)
                    part[:, 2] += tile.positive.sum(dim=dim)
            for part, log_sum in zip(parts, _log_sums(tile.logits, plan.sides), strict=True):
                if log_sum is not None:
                    part[:, 0] = torch.logaddexp(part[:, 0], log_sum.to(wide))
        rows_there = plan.columns[plan.ring.owner(hop + 1)]
        if hop + 1 < plan.ring.size:
            block, ids, sides = plan.ring.pass_on([block, ids, sides], rows_there)
        else:
            (sides,) = plan.ring.pass_on([sides], rows_there)
    return rows, sides


def _log_sums(logits: Tensor, sides: tuple[bool, bool]) -> tuple[Tensor | None, Tensor | None]:
    """Log-sum-exp of each row and of each column of a tile, of those that count.

    Both come from one exponential, taken relative to the largest logit, unless a row or column lies so far below it
    that its terms would vanish.
    """
    if all(sides) and logits.device.type == "cpu":
        peak = logits.max()
        powers = (logits - peak).exp_()
        row, column = powers.sum(dim=1), powers.sum(dim=0)
        if min(row.min().item(), column.min().item()) > math.exp(-_reach(logits.dtype)):
            return peak.double() + row.double().log(), peak.double() + column.double().log()
    row_used, column_used = sides
    return logits.logsumexp(dim=1) if row_used else None, logits.logsumexp(dim=0) if column_used else None


def _gradients(
    images: Tensor, columns: Tensor, scale: Tensor, rows: Tensor, sides: Tensor, plan: _Plan
) -> tuple[Tensor, Tensor]:
    """Gradients by the images, divided by the scale, and by the columns."""
    dtype = computing_type(images)
    row_gradient, column_gradient = torch.zeros_like(images, dtype=dtype), torch.zeros_like(columns, dtype=dtype)
    block, ids = columns, plan.column_ids
    for hop in range(plan.ring.size):
        for tile in visit_tiles(images, plan.row_ids, block, ids, scale.to(dtype), plan.tile, dtype):
            row, side = rows[tile.row, None], sides[None, tile.column]
            gradient = _tile_gradient(tile.logits, [x for x, used in zip((row, side), plan.sides, strict=True) if used])
            if tile.positive is not None:
                gradient -= (row[..., 2] + side[..., 2]).masked_fill_(~tile.positive, 0.0).to(dtype)
            row_gradient[tile.row].addmm_(gradient, tile.columns)
            column_gradient[tile.column].addmm_(gradient.T, tile.images)
        rows_there = plan.columns[plan.ring.owner(hop + 1)]
        if hop + 1 < plan.ring.size:
            block, ids, sides, column_gradient = plan.ring.pass_on([block, ids, sides, column_gradient], rows_there)
        else:
            (column_gradient,) = plan.ring.pass_on([column_gradient], rows_there)
    return row_gradient, column_gradient


def _tile_gradient(logits: Tensor, sides: list[Tensor]) -> Tensor:
    """Sum over the sides of ``weight * exp(logits - log_sum)``; overwrites ``logits``.

    ``sides`` hold log-sums, weights and targets in their last dimension, ``(r, 1, 3)`` and ``(1, c, 3)``. Where all
    log-sums lie close together one exponential serves both.
    """
    if logits.device.type == "cpu":
        ends = [torch.aminmax(side[..., 0]) for side in sides]
        low, high = min(end.min.item() for end in ends), max(end.max.item() for end in ends)
        if high - low < _reach(logits.dtype):
            factors = [(side[..., 1] * (high - side[..., 0]).exp()).to(logits.dtype) for side in sides]
            return logits.sub_(high).exp_().mul_(sum(factors[1:], factors[0]))
    terms = [(logits - side[..., 0].to(logits.dtype)).exp_() * side[..., 1].to(logits.dtype) for side in sides]
    return sum(terms[1:], terms[0])


def _reach(dtype: torch.dtype) -> float:
    """Largest distance of logits, in nats, at which their exponentials add up in one type without loss."""
    return 600.0 if dtype == torch.float64 else 60.0
