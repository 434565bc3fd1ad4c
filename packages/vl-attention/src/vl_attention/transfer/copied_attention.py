"""Attention with queries, keys or values copied from a teacher, without the projections that it no longer needs.

Shapes: ``B`` images, ``N`` tokens, ``D`` channels, ``A`` heads times dimensions of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_attention.attention.inputs import AttentionError, AttentionInputs, AttentionInterceptor, attend
from vl_attention.attention.pairing import HeadMap

PARTS = ("q", "k", "v")


class CopiedAttention(nn.Module):
    """An attention module that takes its queries, keys or values from a teacher.

    If both queries and keys are copied, so is the bias of their logits.

    Args:
        attention: The module. Projections that are no longer used are removed from it.
        parts: What is copied: a selection of ``"q"``, ``"k"`` and ``"v"``.
        heads: The teacher head for each head, or None for a head that is not copied; None for head by head.
    """

    def __init__(self, attention: nn.Module, parts: str, heads: HeadMap | None = None):
        super().__init__()
        self.attention = attention
        self.parts = parts
        self._student_heads = None if heads is None else [h for h, teacher in enumerate(heads) if teacher is not None]
        self._teacher_heads = None if heads is None else [teacher for teacher in heads if teacher is not None]
        self.teacher_inputs: AttentionInputs | None = None
        if heads is None or len(self._student_heads or ()) == len(heads):
            remove_projections(attention, parts)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module; `teacher_inputs` must be set, as `AttentionTransfer` does for each call."""
        with AttentionInterceptor(self._attend):
            return self.attention(*args, **kwargs)

    def _attend(self, student: AttentionInputs, dropout: float) -> Tensor:
        teacher = self.teacher_inputs
        if teacher is None:
            raise RuntimeError(
                "this module needs the attention of a teacher; call the AttentionTransfer that it belongs to, and turn "
                "off gradient checkpointing, which runs the module again in the backward pass"
            )
        if teacher.q.shape[2] != student.q.shape[2]:
            raise AttentionError(
                f"the student has {student.q.shape[2]} tokens and the teacher {teacher.q.shape[2]}; copying needs the "
                "same patches and the same class and register tokens in both; mode='distill' compares the tokens that "
                "both have"
            )
        if self._teacher_heads is not None:
            bias = teacher.bias
            bias = bias if bias is None or bias.shape[1] == 1 else bias[:, self._teacher_heads]
            q, k, v = (tensor[:, self._teacher_heads] for tensor in teacher[:3])
            teacher = AttentionInputs(q, k, v, bias, teacher.scale)
        q, k, v = (tensor.to(student.v.dtype) for tensor in teacher[:3])
        teacher = AttentionInputs(q, k, v, teacher.bias, teacher.scale)
        if self._student_heads is not None and len(self._student_heads) < student.q.shape[1]:
            teacher = self._merge_heads(student, teacher)
        q, k, v = (
            theirs if part in self.parts else ours
            for part, ours, theirs in zip(PARTS, student[:3], teacher[:3], strict=True)
        )
        if q.shape[-1] != k.shape[-1] or v.shape[-1] != student.v.shape[-1]:
            raise AttentionError(
                f"student heads have {student.q.shape[-1]} dimensions and teacher heads {teacher.q.shape[-1]}; copy "
                "both queries and keys (mode='copy'), or pass a student with the same head dimensions"
            )
        if not ("q" in self.parts and "k" in self.parts):
            return attend(AttentionInputs(q, k, v, student.bias, student.scale), dropout)
        bias = None if teacher.bias is None else teacher.bias.to(v.dtype)
        return attend(AttentionInputs(q, k, v, bias, teacher.scale), dropout)

    def _merge_heads(self, student: AttentionInputs, teacher: AttentionInputs) -> AttentionInputs:
        """Insert the teacher's heads among the student's own, at the student's scale.

        Copied maps keep the teacher's scale; queries or keys alone use the student's, as they do without ``heads``.
        """
        if student.q.shape[-1] != teacher.q.shape[-1]:
            raise AttentionError(
                f"student heads have {student.q.shape[-1]} dimensions and teacher heads {teacher.q.shape[-1]}; copied "
                "heads stand beside the student's own only if all have the same dimensions: copy all heads "
                "(heads='all', mode='copy'), use mode='distill', or pass a student with the same head dimensions"
            )
        index = torch.tensor(self._student_heads, device=student.q.device)
        if "q" in self.parts and "k" in self.parts:
            teacher = teacher._replace(q=teacher.q * (teacher.scale / student.scale))
        q, k, v = (ours.index_copy(1, index, theirs) for ours, theirs in zip(student[:3], teacher[:3], strict=True))
        if student.bias is None and teacher.bias is None:
            return AttentionInputs(q, k, v, None, student.scale)
        tokens = student.q.shape[2]
        none = student.q.new_zeros(1, 1, 1, 1)
        ours, theirs = (
            (none if inputs.bias is None else inputs.bias).expand(-1, inputs.q.shape[1], tokens, tokens)
            for inputs in (student, teacher)
        )
        images = max(len(ours), len(theirs))
        ours, theirs = ours.expand(images, -1, -1, -1), theirs.expand(images, -1, -1, -1)
        return AttentionInputs(q, k, v, ours.index_copy(1, index, theirs.to(ours.dtype)), student.scale)


def remove_projections(attention: Any, parts: str) -> None:
    """Remove the query, key or value projections of a module, which then computes zeros in their place.

    Their norms are removed too, and so are the module's relative-position biases if both queries and keys are copied. A
    module with an unknown structure is left unchanged: it works, but computes those projections in vain.
    """
    if getattr(attention, "qkv", None) is not None:
        attention.qkv = _partial_projection(attention, parts)
        if hasattr(attention, "q_bias"):
            attention.q_bias = attention.k_bias = attention.v_bias = None
    else:
        for part in parts:
            if isinstance(projection := getattr(attention, f"{part}_proj", None), nn.Linear):
                setattr(attention, f"{part}_proj", ZeroProjection(projection.out_features))
    for part in parts:
        if isinstance(getattr(attention, f"{part}_norm", None), nn.Module):
            setattr(attention, f"{part}_norm", nn.Identity())
    if "q" in parts and "k" in parts:
        for name in ("relative_position_bias_table", "rel_pos"):
            if getattr(attention, name, None) is not None:
                setattr(attention, name, None)


class ZeroProjection(nn.Module):
    """A projection to zeros, which occupy no memory."""

    def __init__(self, out_features: int):
        super().__init__()
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, N, D)`` to zeros ``(B, N, A)``."""
        return x.new_zeros(()).expand(*x.shape[:-1], self.out_features)


class PartialProjection(nn.Module):
    """A fused projection to queries, keys and values ``(B, N, 3 A)`` with zeros for those that are copied."""

    def __init__(self, weight: Tensor, bias: Tensor | None, parts: str):
        super().__init__()
        chunks = [PARTS.index(part) for part in parts]
        self.parts = parts
        self.weight = nn.Parameter(torch.cat([weight.detach().chunk(3)[i] for i in chunks]))
        self.bias = None if bias is None else nn.Parameter(torch.cat([bias.detach().chunk(3)[i] for i in chunks]))

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(B, N, D)`` to ``(B, N, 3 A)``."""
        found = dict(zip(self.parts, F.linear(x, self.weight, self.bias).chunk(len(self.parts), -1), strict=True))
        width = self.weight.shape[0] // len(self.parts)
        zeros = x.new_zeros(()).expand(*x.shape[:-1], width)
        return torch.cat([found[part] if part in found else zeros.to(found[self.parts[0]].dtype) for part in PARTS], -1)


def _partial_projection(attention: Any, removed: str) -> PartialProjection:
    """The rest of a fused projection, including biases that some models store beside it."""
    qkv, parts = attention.qkv, "".join(part for part in PARTS if part not in removed)
    bias = qkv.bias
    if getattr(attention, "q_bias", None) is not None:
        bias = torch.cat([attention.q_bias, torch.zeros_like(attention.q_bias), attention.v_bias])
    return PartialProjection(qkv.weight, bias, parts)
