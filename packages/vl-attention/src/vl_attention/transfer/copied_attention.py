"""Attention that is handed a teacher's queries, keys or values, without the projections that it no longer needs.

Shapes: ``B`` images, ``N`` tokens, ``D`` channels, ``A`` heads times dimensions of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_attention.attention.inputs import AttentionInputs, Interception, attend
from vl_attention.attention.pairing import HeadMap

PARTS = ("q", "k", "v")


class CopiedAttention(nn.Module):
    """An attention module that takes some of queries, keys and values from elsewhere.

    Where queries and keys both are handed over, so is what is added to their logits.

    Args:
        attention: The module. Projections that nothing uses any more are taken out of it.
        parts: Some of ``"q"``, ``"k"`` and ``"v"``: what is handed over.
        heads: For each head the teacher's head, or None for a head that keeps its own; None for head by head.
    """

    def __init__(self, attention: nn.Module, parts: str, heads: HeadMap | None = None):
        super().__init__()
        self.attention = attention
        self.parts = parts
        self._kept = None if heads is None else [h for h, teacher in enumerate(heads) if teacher is not None]
        self._taught = None if heads is None else [teacher for teacher in heads if teacher is not None]
        self.handed: AttentionInputs | None = None
        if heads is None or len(self._kept or ()) == len(heads):
            remove_projections(attention, parts)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Like the module's own; `handed` must have been set, as `AttentionTransfer` does for each of its calls."""
        with Interception(self._attend):
            return self.attention(*args, **kwargs)

    def _attend(self, own: AttentionInputs, dropout: float) -> Tensor:
        handed = self.handed
        if handed is None:
            raise RuntimeError(
                "this attention waits for a teacher's; call the AttentionTransfer that it belongs to, and turn "
                "gradient checkpointing off, which calls it once more in the backward pass"
            )
        if handed.q.shape[2] != own.q.shape[2]:
            raise ValueError(
                f"the student has {own.q.shape[2]} tokens and the teacher {handed.q.shape[2]}; to copy they must have "
                "the same patches and the same class and register tokens; mode='distill' compares the tokens that "
                "both have"
            )
        if self._taught is not None:
            bias = handed.bias
            bias = bias if bias is None or bias.shape[1] == 1 else bias[:, self._taught]
            q, k, v = (tensor[:, self._taught] for tensor in handed[:3])
            handed = AttentionInputs(q, k, v, bias, handed.scale)
        q, k, v = (tensor.to(own.v.dtype) for tensor in handed[:3])
        handed = AttentionInputs(q, k, v, handed.bias, handed.scale)
        if self._kept is not None and len(self._kept) < own.q.shape[1]:
            handed = self._among_own(own, handed)
        q, k, v = (
            taught if part in self.parts else mine
            for part, mine, taught in zip(PARTS, own[:3], handed[:3], strict=True)
        )
        if q.shape[-1] != k.shape[-1] or v.shape[-1] != own.v.shape[-1]:
            raise ValueError(
                f"heads of the student have {own.q.shape[-1]} dimensions and those of the teacher "
                f"{handed.q.shape[-1]}; copy queries and keys both, mode='copy', or give a student of the same widths"
            )
        if not ("q" in self.parts and "k" in self.parts):
            return attend(AttentionInputs(q, k, v, own.bias, own.scale), dropout)
        bias = None if handed.bias is None else handed.bias.to(v.dtype)
        return attend(AttentionInputs(q, k, v, bias, handed.scale), dropout)

    def _among_own(self, own: AttentionInputs, handed: AttentionInputs) -> AttentionInputs:
        """The teacher's heads in their places among the student's own, at the student's scale.

        Maps that are copied keep the teacher's scale; queries or keys alone have the student's, as without heads.
        """
        index = torch.tensor(self._kept, device=own.q.device)
        if "q" in self.parts and "k" in self.parts:
            handed = handed._replace(q=handed.q * (handed.scale / own.scale))
        q, k, v = (mine.index_copy(1, index, taught) for mine, taught in zip(own[:3], handed[:3], strict=True))
        if own.bias is None and handed.bias is None:
            return AttentionInputs(q, k, v, None, own.scale)
        tokens = own.q.shape[2]
        none = own.q.new_zeros(1, 1, 1, 1)
        mine, taught = (
            (none if tap.bias is None else tap.bias).expand(-1, tap.q.shape[1], tokens, tokens) for tap in (own, handed)
        )
        images = max(len(mine), len(taught))
        mine, taught = mine.expand(images, -1, -1, -1), taught.expand(images, -1, -1, -1)
        return AttentionInputs(q, k, v, mine.index_copy(1, index, taught.to(mine.dtype)), own.scale)


def remove_projections(attention: Any, parts: str) -> None:
    """Take the projections to these of queries, keys and values out of a module, which then computes zeros for them.

    Their norms go too, and with queries and keys both the module's own relative-position biases. A module of unknown
    build is left as it is: it works, and wastes those projections.
    """
    if getattr(attention, "qkv", None) is not None:
        attention.qkv = _remaining(attention, parts)
        if hasattr(attention, "q_bias"):
            attention.q_bias = attention.k_bias = attention.v_bias = None
    else:
        for part in parts:
            if isinstance(projection := getattr(attention, f"{part}_proj", None), nn.Linear):
                setattr(attention, f"{part}_proj", Zeros(projection.out_features))
    for part in parts:
        if isinstance(getattr(attention, f"{part}_norm", None), nn.Module):
            setattr(attention, f"{part}_norm", nn.Identity())
    if "q" in parts and "k" in parts:
        for name in ("relative_position_bias_table", "rel_pos"):
            if getattr(attention, name, None) is not None:
                setattr(attention, name, None)


class Zeros(nn.Module):
    """A projection to zeros, which take no memory."""

    def __init__(self, out_features: int):
        super().__init__()
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        """``(B, N, D)`` to ``(B, N, A)``."""
        return x.new_zeros(()).expand(*x.shape[:-1], self.out_features)


class PartialProjection(nn.Module):
    """A fused projection to queries, keys and values, ``(B, N, 3 A)``, that computes some of them and leaves zeros."""

    def __init__(self, weight: Tensor, bias: Tensor | None, parts: str):
        super().__init__()
        places = [PARTS.index(part) for part in parts]
        self.parts = parts
        self.weight = nn.Parameter(torch.cat([weight.detach().chunk(3)[i] for i in places]))
        self.bias = None if bias is None else nn.Parameter(torch.cat([bias.detach().chunk(3)[i] for i in places]))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, N, D)`` to ``(B, N, 3 A)``."""
        found = dict(zip(self.parts, F.linear(x, self.weight, self.bias).chunk(len(self.parts), -1), strict=True))
        width = self.weight.shape[0] // len(self.parts)
        zeros = x.new_zeros(()).expand(*x.shape[:-1], width)
        return torch.cat([found[part] if part in found else zeros.to(found[self.parts[0]].dtype) for part in PARTS], -1)


def _remaining(attention: Any, removed: str) -> PartialProjection:
    """What is left of a fused projection, with the biases that some models keep beside it."""
    qkv, parts = attention.qkv, "".join(part for part in PARTS if part not in removed)
    bias = qkv.bias
    if getattr(attention, "q_bias", None) is not None:
        bias = torch.cat([attention.q_bias, torch.zeros_like(attention.q_bias), attention.v_bias])
    return PartialProjection(qkv.weight, bias, parts)
