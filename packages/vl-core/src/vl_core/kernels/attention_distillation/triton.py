"""Launch the Triton kernels with tile sizes chosen for the inputs.

A head with at most 256 tokens, the ViT's of 224 pixels, takes one launch that holds its keys on the chip. Longer ones
take three: statistics of both maps, then each gradient from tiles that are made again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from vl_core.kernels.attention_distillation import triton_kernels as kernels
from vl_core.kernels.attention_distillation.inputs import DistillationInputs, Result, Side
from vl_core.kernels.launching import backend, on_device_of

_WHOLE_HEAD_TOKENS = 256


class Tile(NamedTuple):
    """Tile of the maps that one program computes, and its number of warps."""

    rows: int
    columns: int
    warps: int
    stages: int


def attention_distillation(inputs: DistillationInputs, gradient: bool) -> Result:
    """Loss and gradients; see `DistillationInputs` and `Result`."""
    student = inputs.student
    images, heads, tokens, _ = student.q.shape
    loss = student.q.new_empty(images, heads, dtype=torch.float32)
    dq, dk = (student.q.new_empty(student.q.shape if gradient else 0) for _ in range(2))
    scaled = gradient and student.head_scale is not None
    dscale = loss.new_empty(loss.shape if scaled else 0)
    if images == 0:
        return Result(loss, dq, dk, dscale)
    with on_device_of(student.q):
        if _fits_whole(inputs):
            tile = _whole_head_tile(inputs)
            outputs = dq if gradient else None, dk if gradient else None, dscale if scaled else None
            kernels.whole_head[(images * heads,)](
                *_operands(inputs), loss, *outputs, heads, tokens,
                **_sizes(inputs), ENTROPY=inputs.entropy, LIFT=_lift(student), **_launch(tile),
            )  # fmt: skip
            return Result(loss, dq, dk, dscale)
        loss, *lse = _statistics(inputs)
        if gradient:
            dscale = _gradients(inputs, lse, dq, dk)
        return Result(loss, dq, dk, dscale)


def bias_gradient(inputs: DistillationInputs, upstream: Tensor) -> Tensor:
    """Gradient ``(B or 1, H or 1, N, N)`` by the student's bias, in its dtype."""
    student = inputs.student
    assert student.bias is not None
    found = student.bias.new_empty(student.bias.shape)
    images, heads, tokens, _ = student.q.shape
    if images == 0:
        return found.zero_()
    with on_device_of(student.q):
        _, *lse = _statistics(inputs)
        tile = _long_tile(inputs)
        grid = found.shape[0] * found.shape[1] * triton.cdiv(tokens, tile.rows) * triton.cdiv(tokens, tile.columns)
        kernels.bias_gradient[(grid,)](
            *_operands(inputs), *lse, upstream.contiguous(), found, images, heads, tokens,
            **_sizes(inputs), SUM_IMAGES=found.shape[0] == 1, SUM_HEADS=found.shape[1] == 1, **_launch(tile),
        )  # fmt: skip
    return found


def _statistics(inputs: DistillationInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Loss ``(B, H)``, and base-2 log-sum-exps, ``(B, H, N)`` of the student and ``(B, H, G, N)`` of the teacher."""
    images, heads, tokens, _ = inputs.student.q.shape
    new = inputs.student.q.new_empty
    student_lse = new(images, heads, tokens, dtype=torch.float32)
    teacher_lse = new(images, heads, inputs.group, tokens, dtype=torch.float32)
    tile = _long_tile(inputs)
    tiles = triton.cdiv(tokens, tile.rows)
    loss = new(images, heads, tiles, dtype=torch.float32)
    grid = (images * heads * tiles,)
    sizes = _sizes(inputs)
    kernels.statistics[grid](
        *_operands(inputs), loss, student_lse, teacher_lse, heads, tokens,
        **sizes, ENTROPY=inputs.entropy and inputs.group == 1, **_launch(tile),
    )  # fmt: skip
    if inputs.entropy and inputs.group > 1:
        entropy = torch.empty_like(loss)
        _, _, *teacher = _operands(inputs)
        sizes = {name: value for name, value in sizes.items() if name not in ("WIDTH", "D")}
        kernels.average_entropy[grid](*teacher, teacher_lse, entropy, heads, tokens, **sizes, **_launch(tile))
        loss = loss - entropy
    return loss.sum(-1), student_lse, teacher_lse


def _gradients(inputs: DistillationInputs, lse: list[Tensor], dq: Tensor, dk: Tensor) -> Tensor:
    """Fill both gradients; return the one by the head's scale, ``(B, H)`` or empty."""
    student = inputs.student
    images, heads, tokens, _ = student.q.shape
    tile = _long_tile(inputs)
    row_tiles, column_tiles = triton.cdiv(tokens, tile.rows), triton.cdiv(tokens, tile.columns)
    parts = None
    if student.head_scale is not None:
        parts = student.q.new_empty(images, heads, row_tiles, dtype=torch.float32)
    operands, sizes = _operands(inputs), _sizes(inputs) | {"LIFT": _lift(student)} | _launch(tile)
    kernels.q_gradient[(images * heads * row_tiles,)](*operands, *lse, dq, parts, heads, tokens, **sizes)
    kernels.k_gradient[(images * heads * column_tiles,)](*operands, *lse, dk, heads, tokens, **sizes)
    return student.q.new_empty(0, dtype=torch.float32) if parts is None else parts.sum(-1)


def _operands(inputs: DistillationInputs) -> tuple[Any, ...]:
    """Arguments in the form that the kernels take; see their module."""
    mask, weight = inputs.key_mask, inputs.row_weight
    row_options = (
        *((None, 0) if mask is None else (mask.contiguous().view(torch.uint8), mask.shape[1])),
        *((None, 0, 0, 0) if weight is None else (weight, *weight.stride())),
    )
    heads = inputs.teacher_heads
    table = None if heads is None else torch.tensor(heads, dtype=torch.int32, device=inputs.student.q.device)
    scales = (inputs.student.scale * kernels.LOG2E.value, inputs.teacher.scale * kernels.LOG2E.value)
    return (*_side(inputs.student), *_side(inputs.teacher), row_options, table, scales)


def _side(side: Side) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Pointers and strides. Places within a head are counted in 32 bits; a copy without gaps keeps them small."""
    q, k = (t if t.stride(-1) == 1 and t.shape[2] * t.stride(2) < 2**31 else t.contiguous() for t in (side.q, side.k))
    bias = None if side.bias is None else side.bias.expand(len(q), q.shape[1], -1, -1)
    head_scale = None if side.head_scale is None else side.head_scale.contiguous()
    strides = (*q.stride()[:3], *k.stride()[:3], *((0, 0, 0, 0) if bias is None else bias.stride()))
    return (q, k, head_scale, bias), strides


def _sizes(inputs: DistillationInputs) -> dict[str, Any]:
    width, taught_width = inputs.student.q.shape[-1], inputs.teacher.q.shape[-1]
    return {
        "WIDTH": width,
        "TAUGHT_WIDTH": taught_width,
        "G": inputs.group,
        "D": _padded(width),
        "TAUGHT_D": _padded(taught_width),
        "PRECISION": _precision(inputs),
    }


def _padded(size: int) -> int:
    """Next power of two that the matrix unit supports."""
    return max(16, 1 << (size - 1).bit_length())


def _launch(tile: Tile) -> dict[str, int]:
    return {"M": tile.rows, "N": tile.columns, "num_warps": tile.warps, "num_stages": tile.stages}


def _lift(student: Side) -> float:
    """Power of two that keeps differences of probabilities out of float16's subnormal range."""
    return 16384.0 if student.q.dtype == torch.float16 else 1.0


def _fits_whole(inputs: DistillationInputs) -> bool:
    """Return True if one head's keys of both models and their sums fit into on-chip memory."""
    tokens = _padded(inputs.student.q.shape[2])
    if tokens > _WHOLE_HEAD_TOKENS:
        return False
    if backend(inputs.student.q) == "hip":
        return tokens <= 64 and _row_bytes(inputs) <= 128
    if inputs.student.q.element_size() == 4 or inputs.teacher.q.element_size() == 4:
        return tokens * _row_bytes(inputs) <= 64 * 256  # three products of TF32 take more registers
    return tokens * _row_bytes(inputs) <= 256 * 128


def _whole_head_tile(inputs: DistillationInputs) -> Tile:
    """Tile of the kernel that processes a whole head."""
    columns = _padded(inputs.student.q.shape[2])
    return Tile(32, columns, 4 if columns <= 64 and inputs.student.q.element_size() == 2 else 8, 1)


def _long_tile(inputs: DistillationInputs) -> Tile:
    """Tile of the kernels that loop over the keys."""
    row = _row_bytes(inputs)
    if backend(inputs.student.q) == "interpreter":
        return Tile(64, 64, 4, 1)
    if inputs.group > 1:
        return Tile(16, 16, 4, 1) if row > 256 else Tile(32, 32, 4, 1)
    if inputs.student.q.element_size() == 4 or inputs.teacher.q.element_size() == 4:
        return Tile(16, 32, 4, 2) if row <= 256 else Tile(16, 16, 4, 1)
    if row <= 128:
        return Tile(64, 64, 4, 2)
    return Tile(64, 32, 4, 2) if row <= 256 else Tile(32, 32, 4, 1)


def _row_bytes(inputs: DistillationInputs) -> int:
    """On-chip bytes of one query or key, the larger of the two models."""
    return max(_padded(side.q.shape[-1]) * side.q.element_size() for side in (inputs.student, inputs.teacher))


def _precision(inputs: DistillationInputs) -> str:
    """Precision of float32 matrix products: three TF32 products each on NVIDIA's matrix units, otherwise IEEE."""
    return {"cuda": "tf32x3", "hip": "ieee", "interpreter": "interpreter"}[backend(inputs.student.q)]
