"""How far one layer of the student is from the layer that it learns from.

Each function takes the student's and the teacher's tap of one layer and returns a scalar; the teacher is a constant.
"""

from __future__ import annotations

from math import gcd

from torch import Tensor
from torch.nn import functional as F
from vl_core.kernels.attention_distillation import attention_distillation

from vl_attention.attention.inputs import AttentionInputs
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
    """Cross-entropy between the two attention maps, a mean over images, heads and queries.

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

    MiniLMv2 (Wang et al., 2021): the heads' vectors are joined and divided anew into ``relation_heads``, so that the
    two models may differ in heads and width. A mean over the three relations.

    Args:
        student: The student's tap.
        teacher: The teacher's tap.
        relation_heads: Into how many heads both are divided; default: the largest divisor of both widths that is not
            above the number of heads of the model that has more.
        tokens_student: Which of the student's tokens take part.
        tokens_teacher: Which of the teacher's tokens take part.

    Raises:
        ValueError: If ``relation_heads`` does not divide both widths.
    """
    widths = [tap.q.shape[1] * tap.q.shape[3] for tap in (student, teacher)]
    if relation_heads is None:
        common, most = gcd(*widths), max(student.q.shape[1], teacher.q.shape[1])
        relation_heads = max(n for n in range(1, most + 1) if common % n == 0)
    elif relation_heads < 1 or any(width % relation_heads for width in widths):
        raise ValueError(f"relation_heads must divide the widths {widths[0]} and {widths[1]}, got {relation_heads}")
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
    """Mean squared difference between two attention modules' outputs ``(B, N, D)``.

    The target that asks nothing of how the output came about (Copy the Same, Distill the Difference, 2026).

    Raises:
        ValueError: If the models differ in width.
    """
    if student.shape[-1] != teacher.shape[-1]:
        raise ValueError(
            f"mode='output' needs models of one width, and the student has {student.shape[-1]} channels, the teacher "
            f"{teacher.shape[-1]}; mode='distill' and mode='relations' do not"
        )
    ours, theirs = _chosen(student, tokens_student), _chosen(teacher, tokens_teacher)
    return F.mse_loss(ours.float(), theirs.float())


def _regrouped(vectors: Tensor, heads: int) -> Tensor:
    """``(B, H, N, d)`` to ``(B, heads, N, H d / heads)``."""
    images, own_heads, tokens, width = vectors.shape
    joined = vectors.transpose(1, 2).reshape(images, tokens, heads, own_heads * width // heads)
    return joined.transpose(1, 2)


def _chosen(output: Tensor, tokens: Tokens) -> Tensor:
    return output if tokens is None else output.index_select(1, tokens)
