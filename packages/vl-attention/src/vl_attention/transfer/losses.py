"""Losses between a student layer and the teacher layer that it learns from.

Each function takes the attention inputs (or outputs) of the student and the teacher for one layer and returns a scalar;
no gradient reaches the teacher.
"""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor
from torch.nn import functional as F
from vl_core.kernels.attention_distillation import attention_distillation

from vl_attention.attention.inputs import AttentionError, AttentionInputs
from vl_attention.attention.pairing import HeadMap
from vl_attention.attention.tokens import Tokens


def map_loss(
    student: AttentionInputs,
    teacher: AttentionInputs,
    *,
    heads: HeadMap | None = None,
    tokens_student: Tokens = None,
    tokens_teacher: Tokens = None,
) -> Tensor:
    """Cross-entropy between the two attention maps, averaged over images, heads and queries.

    The loss of Attention Transfer (Li et al., 2024, "attention distillation"). No map is stored.
    """
    return attention_distillation(
        student.q,
        student.k,
        teacher.q,
        teacher.k,
        scale_student=student.scale,
        scale_teacher=teacher.scale,
        bias_student=student.bias,
        bias_teacher=teacher.bias,
        tokens_student=tokens_student,
        tokens_teacher=tokens_teacher,
        head_map=heads,
    )


def relation_loss(
    student: AttentionInputs,
    teacher: AttentionInputs,
    *,
    relation_heads: int | None = None,
    tokens_student: Tokens = None,
    tokens_teacher: Tokens = None,
) -> Tensor:
    """KL divergence between relations: softmax of queries with queries, keys with keys, values with values.

    MiniLMv2 (Wang et al., 2021): the head vectors are concatenated and split into ``relation_heads``, so the two models
    may differ in heads and width. The mean over the three relations.

    Args:
        student: The student's attention inputs.
        teacher: The teacher's attention inputs.
        relation_heads: Number of relation heads for both; default: the largest common divisor of both widths that does
            not exceed the larger number of attention heads.
        tokens_student: Student tokens that take part.
        tokens_teacher: Teacher tokens that take part.

    Raises:
        AttentionError: If ``relation_heads`` does not divide both widths.
    """
    widths = [inputs.q.shape[1] * inputs.q.shape[3] for inputs in (student, teacher)]
    if relation_heads is None:
        common, most = gcd(*widths), max(student.q.shape[1], teacher.q.shape[1])
        relation_heads = max(n for n in range(1, most + 1) if common % n == 0)
    elif relation_heads < 1 or any(width % relation_heads for width in widths):
        raise AttentionError(f"relation_heads must divide the widths {widths[0]} and {widths[1]}, got {relation_heads}")
    losses = []
    for part_s, part_t in zip(student[:3], teacher[:3], strict=True):
        vectors_s, vectors_t = _regrouped(part_s, relation_heads), _regrouped(part_t, relation_heads)
        losses.append(
            attention_distillation(
                vectors_s,
                vectors_s,
                vectors_t,
                vectors_t,
                divergence="kl",
                tokens_student=tokens_student,
                tokens_teacher=tokens_teacher,
            )
        )
    return sum(losses[1:], losses[0]) / len(losses)


def output_loss(
    student: Tensor, teacher: Tensor, *, tokens_student: Tokens = None, tokens_teacher: Tokens = None
) -> Tensor:
    """Mean squared error between the outputs ``(B, N, D)`` of two attention modules.

    A target that does not depend on how the output was computed (Copy the Same, Distill the Difference, 2026).

    Raises:
        AttentionError: If the models differ in width.
    """
    if student.shape[-1] != teacher.shape[-1]:
        raise AttentionError(
            f"mode='output' needs models of equal width, and the student has {student.shape[-1]} channels, the teacher "
            f"{teacher.shape[-1]}; use mode='distill' or mode='relations' instead"
        )
    ours, theirs = _select_tokens(student, tokens_student), _select_tokens(teacher, tokens_teacher)
    return F.mse_loss(ours.float(), theirs.float())


def vector_loss(
    student: AttentionInputs,
    teacher: AttentionInputs,
    *,
    part: str,
    heads: HeadMap | None = None,
    tokens_student: Tokens = None,
    tokens_teacher: Tokens = None,
) -> Tensor:
    """Mean squared error between the queries, keys or values ``(B, H, N, d)`` of two attention modules.

    "distill_q", "distill_k" and "distill_v" of the code of Attention Transfer (Li et al., 2024): the mean over all
    numbers, as the vectors enter the softmax and without its scale.

    Args:
        student: The student's attention inputs.
        teacher: The teacher's attention inputs.
        part: ``"q"``, ``"k"`` or ``"v"``.
        heads: The teacher head of each student head, or None for a head that learns nothing; None for head by head.
        tokens_student: Student tokens that take part.
        tokens_teacher: Teacher tokens that take part.

    Raises:
        AttentionError: If the vectors differ in number of heads or in width.
    """
    ours, theirs = (_select_tokens(getattr(inputs, part), tokens, dim=2)
                    for inputs, tokens in ((student, tokens_student), (teacher, tokens_teacher)))  # fmt: skip
    if heads is not None:
        if any(isinstance(target, list) for target in heads):
            raise AttentionError(
                f"mode='distill_{part}' takes one teacher head for each student head and cannot average several; "
                "choose heads one to one, or use mode='distill'"
            )
        learning = [head for head, target in enumerate(heads) if target is not None]
        ours, theirs = ours[:, learning], theirs[:, [heads[head] for head in learning]]
    if ours.shape[-1] != theirs.shape[-1]:
        raise AttentionError(
            f"mode='distill_{part}' needs heads of equal width, and the student's have {ours.shape[-1]} dimensions, "
            f"the teacher's {theirs.shape[-1]}; use mode='distill' or mode='relations' instead"
        )
    precision = torch.promote_types(torch.promote_types(ours.dtype, theirs.dtype), torch.float32)
    return F.mse_loss(ours.to(precision), theirs.to(precision))


def _regrouped(vectors: Tensor, heads: int) -> Tensor:
    """Regroup ``(B, H, N, d)`` to ``(B, heads, N, H d / heads)``."""
    images, old_heads, tokens, width = vectors.shape
    joined = vectors.transpose(1, 2).reshape(images, tokens, heads, old_heads * width // heads)
    return joined.transpose(1, 2)


def _select_tokens(values: Tensor, tokens: Tokens, dim: int = 1) -> Tensor:
    return values if tokens is None else values.index_select(dim, tokens)
