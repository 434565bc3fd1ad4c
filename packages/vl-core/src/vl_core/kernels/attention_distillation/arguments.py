"""Check each argument of the public function and bring it into the form of `DistillationInputs`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vl_core.kernels.checks import check_floating, is_finite_number

HeadMap = Sequence[int | Sequence[int] | None]


def check_side(side: str, q: Tensor, k: Tensor) -> None:
    """Raise if these are not the queries and keys of one model."""
    for name, tensor in ((f"q_{side}", q), (f"k_{side}", k)):
        check_floating(name, tensor)
    if q.ndim != 4 or 0 in q.shape[1:]:
        raise ValueError(
            f"q_{side} must have shape (images, heads, tokens, head dimension), only images may be 0; "
            f"got {tuple(q.shape)}"
        )
    if k.shape != q.shape:
        raise ValueError(f"k_{side} must have shape {tuple(q.shape)} like q_{side}, got {tuple(k.shape)}")
    if k.dtype != q.dtype or k.device != q.device:
        raise ValueError(
            f"k_{side} must have the dtype and device of q_{side}, {q.dtype} on {q.device}; got {k.dtype} on {k.device}"
        )


def check_sides(q_student: Tensor, q_teacher: Tensor) -> None:
    """Raise if the two models differ in batch size or number of tokens."""
    (images, _, tokens, _), (taught_images, _, taught_tokens, _) = q_student.shape, q_teacher.shape
    if q_teacher.device != q_student.device:
        raise ValueError(f"q_teacher must be on {q_student.device} like q_student, got {q_teacher.device}")
    if taught_images != images:
        raise ValueError(f"q_teacher must hold {images} images like q_student, got {taught_images}")
    if taught_tokens != tokens:
        raise ValueError(
            f"q_teacher must hold {tokens} tokens like q_student, got {taught_tokens}; where one model has tokens that "
            "the other lacks, choose those that both have with tokens_student and tokens_teacher"
        )


def choose_tokens(
    side: str, tokens: Tensor | slice | None, q: Tensor, k: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Queries, keys and bias of the chosen tokens."""
    if tokens is None:
        return q, k, bias
    if isinstance(tokens, slice):
        if (tokens.step or 1) < 1:
            raise ValueError(f"tokens_{side} must not run backwards, got {tokens}; give indices instead")
        chosen = q[:, :, tokens], k[:, :, tokens], bias if bias is None else bias[:, :, tokens, tokens]
    elif isinstance(tokens, Tensor) and tokens.ndim == 1 and tokens.dtype == torch.int64:
        cut = bias if bias is None else bias.index_select(2, tokens).index_select(3, tokens)
        chosen = q.index_select(2, tokens), k.index_select(2, tokens), cut
    else:
        got = f"{tokens.dtype} {tuple(tokens.shape)}" if isinstance(tokens, Tensor) else repr(tokens)
        raise TypeError(f"tokens_{side} must be a slice or an int64 tensor of one dimension, got {got}")
    if chosen[0].shape[2] == 0:
        raise ValueError(f"tokens_{side} must leave at least one of the {q.shape[2]} tokens, got {tokens}")
    return chosen


def full_bias(name: str, bias: Tensor | None, q: Tensor) -> Tensor | None:
    """The bias with four dimensions: ``(B or 1, H or 1, N, N)``."""
    if bias is None:
        return None
    images, heads, tokens, _ = q.shape
    if not isinstance(bias, Tensor) or not bias.dtype.is_floating_point:
        got = bias.dtype if isinstance(bias, Tensor) else type(bias).__name__
        raise TypeError(f"{name} must be a tensor of a floating type, got {got}; a mask of keys goes to key_mask")
    _check_device(name, bias, q)
    wanted = (images, heads, tokens, tokens)
    full = bias[(None,) * max(0, 4 - bias.ndim)]
    if full.ndim != 4 or any(got not in (1, size) for got, size in zip(full.shape, wanted, strict=True)):
        raise ValueError(f"{name} must broadcast to {wanted}, got {tuple(bias.shape)}")
    return full.expand(-1, -1, tokens, tokens)


def split_scale(name: str, scale: float | Tensor | None, q: Tensor) -> tuple[float, Tensor | None]:
    """Split a scale into a number and, if it was a tensor, one factor per head."""
    heads, default = q.shape[1], q.shape[-1] ** -0.5
    if scale is None:
        return default, None
    if not isinstance(scale, Tensor):
        if not is_finite_number(scale):
            raise ValueError(f"{name} must be a finite number or a tensor, got {scale!r}")
        return float(scale), None
    if not scale.dtype.is_floating_point:
        raise TypeError(f"{name} must be of a floating type, got {scale.dtype}")
    _check_device(name, scale, q)
    if scale.shape not in ((), (1,), (heads,)):
        raise ValueError(f"{name} must have shape () or ({heads},), one number a head; got {tuple(scale.shape)}")
    return 1.0, scale.expand(heads)


def full_row_weight(row_weight: Tensor | None, q: Tensor) -> Tensor | None:
    """The rows' weights as ``(B, H, N)``."""
    if row_weight is None:
        return None
    images, heads, tokens, _ = q.shape
    if not isinstance(row_weight, Tensor):
        raise TypeError(f"row_weight must be a tensor, got {type(row_weight).__name__}")
    if row_weight.requires_grad:
        raise ValueError("row_weight gets no gradient; give row_weight.detach()")
    _check_device("row_weight", row_weight, q)
    shapes = (tokens,), (images, tokens), (images, heads, tokens)
    if row_weight.shape not in shapes:
        raise ValueError(f"row_weight must have shape {' or '.join(map(str, shapes))}, got {tuple(row_weight.shape)}")
    if not row_weight.dtype.is_floating_point:
        row_weight = row_weight.float()
    full = row_weight[:, None] if row_weight.ndim == 2 else row_weight
    return full.expand(images, heads, tokens)


def usable_mask(key_mask: Tensor | None, row_weight: Tensor | None, q: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Mask and row weights; an image without any valid key gets all keys and zero weight."""
    if key_mask is None:
        return None, row_weight
    images, heads, tokens, _ = q.shape
    if not isinstance(key_mask, Tensor) or key_mask.dtype != torch.bool:
        got = key_mask.dtype if isinstance(key_mask, Tensor) else type(key_mask).__name__
        raise TypeError(f"key_mask must be a bool tensor, true for keys that take part, got {got}")
    _check_device("key_mask", key_mask, q)
    if key_mask.shape != (images, tokens):
        raise ValueError(f"key_mask must have shape {(images, tokens)}, got {tuple(key_mask.shape)}")
    seen = key_mask.any(-1, keepdim=True)
    weight = seen[:, None].float().expand(images, heads, tokens) if row_weight is None else row_weight * seen[:, None]
    return key_mask | ~seen, weight


def read_head_map(head_map: HeadMap | None, heads: int, taught: int) -> tuple[list[int] | None, list[int] | None]:
    """Student heads that are kept (None for all), and the teacher heads of each kept one (see `DistillationInputs`)."""
    if head_map is None:
        if taught != heads:
            raise ValueError(
                f"q_teacher must have {heads} heads like q_student, got {taught}; give a head_map to say which teacher "
                "heads a student head learns"
            )
        return None, None
    if not isinstance(head_map, Sequence) or len(head_map) != heads:
        raise ValueError(
            f"head_map must be a sequence with an entry for each of the {heads} student heads: {head_map!r}"
        )
    groups = {
        head: [entry] if isinstance(entry, int) else list(entry)
        for head, entry in enumerate(head_map)
        if entry is not None
    }
    wrong = [group for group in groups.values() if not group or any(not _is_head(head, taught) for head in group)]
    if wrong or not groups:
        raise ValueError(
            f"head_map must name teacher heads 0 ... {taught - 1}, at least one for some student head; got {head_map!r}"
        )
    # Groups of different sizes are made equal by naming their heads several times, which leaves averages alone.
    size = math.lcm(*map(len, groups.values()))
    taught_heads = [head for group in groups.values() for head in group * (size // len(group))]
    kept = None if len(groups) == heads else list(groups)
    return kept, None if taught_heads == list(range(heads)) and taught == heads and kept is None else taught_heads


def _is_head(head: object, heads: int) -> bool:
    return isinstance(head, int) and not isinstance(head, bool) and 0 <= head < heads


def _check_device(name: str, tensor: Tensor, q: Tensor) -> None:
    if tensor.device != q.device:
        raise ValueError(f"{name} must be on {q.device} like the queries, got {tensor.device}")
