"""Launches the Triton kernels: which of them solve a problem, with which tiles.

A head with at most 256 tokens, the ViT's of 224 pixels, takes one launch that holds its keys on the chip. Longer ones
take three: statistics of both maps, then each gradient from tiles that are made again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from vl_core.kernels.attention_distillation import triton_kernels as kernels
from vl_core.kernels.attention_distillation.problem import DistillationInputs, Result, Side
from vl_core.kernels.launching import backend, on_device_of

_WHOLE_HEAD_TOKENS = 256


class Tile(NamedTuple):
    """How much of the maps a program has in work, and how many warps work on it."""

    rows: int
    columns: int
    warps: int
    stages: int


def attention_distillation(problem: DistillationInputs, gradient: bool) -> Result:
    """Loss and gradients; see `DistillationInputs` and `Result`."""
    student = problem.student
    images, heads, tokens, _ = student.q.shape
    loss = student.q.new_empty(images, heads, dtype=torch.float32)
    dq, dk = (student.q.new_empty(student.q.shape if gradient else 0) for _ in range(2))
    scaled = gradient and student.head_scale is not None
    dscale = loss.new_empty(loss.shape if scaled else 0)
    if images == 0:
        return Result(loss, dq, dk, dscale)
    with on_device_of(student.q):
        if _fits_whole(problem):
            tile = _whole_head_tile(problem)
            outputs = dq if gradient else None, dk if gradient else None, dscale if scaled else None
            kernels.whole_head[(images * heads,)](
                *_operands(problem), loss, *outputs, heads, tokens,
                **_sizes(problem), ENTROPY=problem.entropy, LIFT=_lift(student), **_launch(tile),
            )  # fmt: skip
            return Result(loss, dq, dk, dscale)
        loss, *lse = _statistics(problem)
        if gradient:
            dscale = _gradients(problem, lse, dq, dk)
        return Result(loss, dq, dk, dscale)


def bias_gradient(problem: DistillationInputs, upstream: Tensor) -> Tensor:
    """Gradient ``(B or 1, H or 1, N, N)`` by the student's bias, in its dtype."""
    student = problem.student
    assert student.bias is not None
    found = student.bias.new_empty(student.bias.shape)
    images, heads, tokens, _ = student.q.shape
    if images == 0:
        return found.zero_()
    with on_device_of(student.q):
        _, *lse = _statistics(problem)
        tile = _long_tile(problem)
        grid = found.shape[0] * found.shape[1] * triton.cdiv(tokens, tile.rows) * triton.cdiv(tokens, tile.columns)
        kernels.bias_gradient[(grid,)](
            *_operands(problem), *lse, upstream.contiguous(), found, images, heads, tokens,
            **_sizes(problem), SUM_IMAGES=found.shape[0] == 1, SUM_HEADS=found.shape[1] == 1, **_launch(tile),
        )  # fmt: skip
    return found


def _statistics(problem: DistillationInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Loss ``(B, H)``, and base-2 log-sum-exps, ``(B, H, N)`` of the student and ``(B, H, G, N)`` of the teacher."""
    images, heads, tokens, _ = problem.student.q.shape
    new = problem.student.q.new_empty
    student_lse = new(images, heads, tokens, dtype=torch.float32)
    teacher_lse = new(images, heads, problem.group, tokens, dtype=torch.float32)
    tile = _long_tile(problem)
    tiles = triton.cdiv(tokens, tile.rows)
    loss = new(images, heads, tiles, dtype=torch.float32)
    grid = (images * heads * tiles,)
    sizes = _sizes(problem)
    kernels.statistics[grid](
        *_operands(problem), loss, student_lse, teacher_lse, heads, tokens,
        **sizes, ENTROPY=problem.entropy and problem.group == 1, **_launch(tile),
    )  # fmt: skip
    if problem.entropy and problem.group > 1:
        entropy = torch.empty_like(loss)
        _, _, *teacher = _operands(problem)
        sizes = {name: value for name, value in sizes.items() if name not in ("WIDTH", "D")}
        kernels.average_entropy[grid](*teacher, teacher_lse, entropy, heads, tokens, **sizes, **_launch(tile))
        loss = loss - entropy
    return loss.sum(-1), student_lse, teacher_lse


def _gradients(problem: DistillationInputs, lse: list[Tensor], dq: Tensor, dk: Tensor) -> Tensor:
    """Fill both gradients; return the one by the head's scale, ``(B, H)`` or empty."""
    student = problem.student
    images, heads, tokens, _ = student.q.shape
    tile = _long_tile(problem)
    row_tiles, column_tiles = triton.cdiv(tokens, tile.rows), triton.cdiv(tokens, tile.columns)
    parts = None
    if student.head_scale is not None:
        parts = student.q.new_empty(images, heads, row_tiles, dtype=torch.float32)
    operands, sizes = _operands(problem), _sizes(problem) | {"LIFT": _lift(student)} | _launch(tile)
    kernels.q_gradient[(images * heads * row_tiles,)](*operands, *lse, dq, parts, heads, tokens, **sizes)
    kernels.k_gradient[(images * heads * column_tiles,)](*operands, *lse, dk, heads, tokens, **sizes)
    return student.q.new_empty(0, dtype=torch.float32) if parts is None else parts.sum(-1)


def _operands(problem: DistillationInputs) -> tuple[Any, ...]:
    """The problem in the form that the kernels take; see their module."""
    mask, weight = problem.key_mask, problem.row_weight
    row_options = (
        *((None, 0) if mask is None else (mask.contiguous().view(torch.uint8), mask.shape[1])),
        *((None, 0, 0, 0) if weight is None else (weight, *weight.stride())),
    )
    heads = problem.teacher_heads
    table = None if heads is None else torch.tensor(heads, dtype=torch.int32, device=problem.student.q.device)
    scales = (problem.student.scale * kernels.LOG2E.value, problem.teacher.scale * kernels.LOG2E.value)
    return (*_side(problem.student), *_side(problem.teacher), row_options, table, scales)


def _side(side: Side) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Pointers and strides. Places within a head are counted in 32 bits; a copy without gaps keeps them small."""
    q, k = (t if t.stride(-1) == 1 and t.shape[2] * t.stride(2) < 2**31 else t.contiguous() for t in (side.q, side.k))
    bias = None if side.bias is None else side.bias.expand(len(q), q.shape[1], -1, -1)
    head_scale = None if side.head_scale is None else side.head_scale.contiguous()
    strides = (*q.stride()[:3], *k.stride()[:3], *((0, 0, 0, 0) if bias is None else bias.stride()))
    return (q, k, head_scale, bias), strides


def _sizes(problem: DistillationInputs) -> dict[str, Any]:
    width, taught_width = problem.student.q.shape[-1], problem.teacher.q.shape[-1]
    return {
        "WIDTH": width,
        "TAUGHT_WIDTH": taught_width,
        "G": problem.group,
        "D": _padded(width),
        "TAUGHT_D": _padded(taught_width),
        "PRECISION": _precision(problem),
    }


def _padded(size: int) -> int:
    """The next power of two that the matrix unit takes."""
    return max(16, 1 << (size - 1).bit_length())


def _launch(tile: Tile) -> dict[str, int]:
    return {"M": tile.rows, "N": tile.columns, "num_warps": tile.warps, "num_stages": tile.stages}


def _lift(student: Side) -> float:
    """A power of two that keeps differences of probabilities out of float16's subnormal numbers."""
    return 16384.0 if student.q.dtype == torch.float16 else 1.0


def _fits_whole(problem: DistillationInputs) -> bool:
    """Whether the keys of a head, of both models, and the sums that go with them stay on the chip."""
    tokens = _padded(problem.student.q.shape[2])
    if tokens > _WHOLE_HEAD_TOKENS:
        return False
    if backend(problem.student.q) == "hip":
        return tokens <= 64 and _row_bytes(problem) <= 128
    if problem.student.q.element_size() == 4 or problem.teacher.q.element_size() == 4:
        return tokens * _row_bytes(problem) <= 64 * 256  # three products of TF32 take more registers
    return tokens * _row_bytes(problem) <= 256 * 128


def _whole_head_tile(problem: DistillationInputs) -> Tile:
    """Tile of the kernel that takes a whole head."""
    columns = _padded(problem.student.q.shape[2])
    return Tile(32, columns, 4 if columns <= 64 and problem.student.q.element_size() == 2 else 8, 1)


def _long_tile(problem: DistillationInputs) -> Tile:
    """Tile of the kernels that go over the keys."""
    row = _row_bytes(problem)
    if backend(problem.student.q) == "interpreter":
        return Tile(64, 64, 4, 1)
    if problem.group > 1:
        return Tile(16, 16, 4, 1) if row > 256 else Tile(32, 32, 4, 1)
    if problem.student.q.element_size() == 4 or problem.teacher.q.element_size() == 4:
        return Tile(16, 32, 4, 2) if row <= 256 else Tile(16, 16, 4, 1)
    if row <= 128:
        return Tile(64, 64, 4, 2)
    return Tile(64, 32, 4, 2) if row <= 256 else Tile(32, 32, 4, 1)


def _row_bytes(problem: DistillationInputs) -> int:
    """Bytes that a query or key takes on the chip, of the model for which it takes more."""
    return max(_padded(side.q.shape[-1]) * side.q.element_size() for side in (problem.student, problem.teacher))


def _precision(problem: DistillationInputs) -> str:
    """How products of float32 numbers are formed: on NVIDIA's matrix units, each as three of TF32; else as they are."""
    return {"cuda": "tf32x3", "hip": "ieee", "interpreter": "interpreter"}[backend(problem.student.q)]
