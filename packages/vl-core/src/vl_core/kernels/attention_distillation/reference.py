"""Reference implementation in plain PyTorch, on any device and in float64 too; it defines the correct result.

Rows are taken a tile at a time, so that memory stays bounded whatever the number of tokens is. The upstream gradient of
a head's loss is one number, so a tile gives its loss and its gradients in one go, and no map is ever computed twice.
With ``W = w (P_s - P_t)`` of row weights ``w``, after the softmax's own derivative::

    dL/dq_s = c_s W k_s        dL/dk_s = c_s W^T q_s        dL/dbias = W        dL/dc_s = sum W * (q_s k_s^T)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vl_core.kernels.attention_distillation.inputs import DistillationInputs, Result, Side

# Logits of one map that are held at a time. On a CPU what is in work stays in cache; on a GPU it fills the device.
_CPU_TILE = 1 << 19
_DEVICE_TILE = 1 << 24

Tile = tuple[slice, slice, slice]  # of the batch, of the student's heads, of rows


def attention_distillation(inputs: DistillationInputs, gradient: bool) -> Result:
    """Loss and gradients; see `DistillationInputs` and `Result`."""
    student = inputs.student
    dtype = torch.promote_types(student.q.dtype, torch.float32)
    loss = student.q.new_zeros(student.q.shape[:2], dtype=dtype)
    if not gradient:
        for tile in _tiles(student.q):
            loss[tile[:2]] += _tile_loss(inputs, tile, dtype)[0]
        return Result(loss, *(loss.new_empty(0) for _ in range(3)))
    dq = torch.empty_like(student.q, memory_format=torch.contiguous_format)
    dk = torch.zeros_like(student.k, dtype=dtype, memory_format=torch.contiguous_format)
    scale_gradient = torch.zeros_like(loss if student.head_scale is not None else loss.new_empty(0))
    for tile in _tiles(student.q):
        part, difference = _tile_loss(inputs, tile, dtype)
        loss[tile[:2]] += part
        q, k = student.q[tile].to(dtype), student.k[tile[:2]].to(dtype)
        scale = _scale(student, tile[1], dtype)
        dq_unscaled = difference @ k
        dq[tile] = dq_unscaled * scale
        dk[tile[:2]] += (difference.mT @ q) * scale
        if student.head_scale is not None:
            scale_gradient[tile[:2]] += (dq_unscaled * q).sum((-1, -2)) * student.scale
    return Result(loss, dq, dk.to(student.k.dtype), scale_gradient)


def bias_gradient(inputs: DistillationInputs, upstream: Tensor) -> Tensor:
    """Gradient ``(B or 1, H or 1, N, N)`` by the student's bias, in its dtype.

    Args:
        inputs: With a student bias.
        upstream: ``(B, H)``, the gradient by each head's loss.
    """
    student = inputs.student
    assert student.bias is not None
    dtype = torch.promote_types(student.q.dtype, torch.float32)
    gradient = torch.zeros_like(student.bias, dtype=dtype)
    summed = [dim for dim in (0, 1) if student.bias.shape[dim] == 1]
    for tile in _tiles(student.q):
        _, difference = _tile_loss(inputs, tile, dtype)
        part = difference * upstream[tile[:2]][..., None, None].to(dtype)
        batch, heads = (slice(None) if dim in summed else tile[dim] for dim in (0, 1))
        gradient[batch, heads, tile[2]] += part.sum(summed, keepdim=True) if summed else part
    return gradient.to(student.bias.dtype)


def _tile_loss(inputs: DistillationInputs, tile: Tile, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The tile's weighted loss ``(b, h)``, and ``w (P_s - P_t)``, ``(b, h, rows, N)``."""
    teacher = _teacher_map(inputs, tile, dtype)
    student = torch.log_softmax(_logits(inputs.student, tile, None, inputs.key_mask, dtype), -1)
    products = teacher * student
    if inputs.key_mask is not None or inputs.student.bias is not None:
        products.masked_fill_(teacher == 0, 0)  # 0 log 0, where both leave a key out
    row_loss = -products.sum(-1)
    if inputs.entropy:
        row_loss += torch.xlogy(teacher, teacher).sum(-1)
    difference = student.exp_().sub_(teacher)
    if inputs.row_weight is not None:
        weight = inputs.row_weight[tile].to(dtype)
        row_loss *= weight
        difference *= weight[..., None]
    return row_loss.sum(-1), difference


def _teacher_map(inputs: DistillationInputs, tile: Tile, dtype: torch.dtype) -> Tensor:
    """The teacher's probabilities ``(b, h, rows, N)``, averaged over the heads that a student head learns from."""
    total: Tensor | None = None
    for member in range(inputs.group):
        heads = inputs.heads_of_group(member)
        chosen = None if heads is None else heads[tile[1]]
        part = torch.softmax(_logits(inputs.teacher, tile, chosen, inputs.key_mask, dtype), -1)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total.div_(inputs.group) if inputs.group > 1 else total


def _logits(side: Side, tile: Tile, heads: list[int] | None, mask: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Logits ``(b, h, rows, N)`` of the tile's heads, or of others given by number."""
    batch, own, rows = tile
    head: slice | list[int] = own if heads is None else heads
    q, k = side.q[batch, head][:, :, rows].to(dtype), side.k[batch, head].to(dtype)
    logits = (q * _scale(side, head, dtype)) @ k.mT
    if side.bias is not None:
        bias = side.bias.expand(len(side.q), side.q.shape[1], -1, -1)
        logits += bias[batch, head][:, :, rows]
    if mask is not None:
        logits.masked_fill_(~mask[batch, None, None, :], -torch.inf)
    return logits


def _scale(side: Side, head: slice | list[int], dtype: torch.dtype) -> float | Tensor:
    """Factor of the logits: a number, or ``(h, 1, 1)``."""
    if side.head_scale is None:
        return side.scale
    return side.head_scale[head].to(dtype)[:, None, None] * side.scale


def _tiles(q: Tensor) -> Iterator[Tile]:
    """Cut ``(B, H, N)`` rows into tiles of bounded area: whole images, else whole heads, else some rows of a head."""
    images, heads, tokens, _ = q.shape
    area = _CPU_TILE if q.device.type == "cpu" else _DEVICE_TILE
    row_count = max(1, min(tokens, area // tokens))
    head_count = max(1, min(heads, area // (row_count * tokens)))
    image_count = max(1, area // (head_count * row_count * tokens)) if head_count == heads else 1
    for image in range(0, images, image_count):
        for head in range(0, heads, head_count):
            for row in range(0, tokens, row_count):
                yield (
                    slice(image, min(image + image_count, images)),
                    slice(head, min(head + head_count, heads)),
                    slice(row, min(row + row_count, tokens)),
                )
