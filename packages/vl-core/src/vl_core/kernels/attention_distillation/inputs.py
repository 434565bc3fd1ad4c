"""Checked inputs and results of all implementations of the attention-distillation loss.

Shapes: ``B`` batch, ``H`` student heads, ``T`` teacher heads, ``N`` tokens, ``d`` head dimension of a side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Side:
    """One model's queries and keys; its logits are ``scale * head_scale * q k^T + bias``."""

    q: Tensor
    """``(B, H or T, N, d)``."""
    k: Tensor
    """Like ``q``."""
    scale: float
    head_scale: Tensor | None
    """``(H or T,)``, or none for ones."""
    bias: Tensor | None
    """``(B or 1, H or T or 1, N, N)``, or none for zeros."""


@dataclass(frozen=True)
class DistillationInputs:
    """Both models' attention inputs, and how the rows of their maps are compared."""

    student: Side
    teacher: Side
    teacher_heads: list[int] | None
    """``H * G`` numbers of teacher heads, ``G`` for each student head, which learns the average of their maps. None:
    student head ``h`` learns teacher head ``h``."""
    key_mask: Tensor | None
    """Bool ``(B, N)``, true where the key takes part; at least one true in every row that has weight."""
    row_weight: Tensor | None
    """``(B, H, N)``, or none for ones."""
    entropy: bool
    """True to subtract the teacher's entropy, which turns cross-entropy into KL divergence."""

    @property
    def group(self) -> int:
        """``G``, the number of teacher heads that a student head learns from."""
        return len(self.teacher_heads) // self.student.q.shape[1] if self.teacher_heads else 1

    def heads_of_group(self, member: int) -> list[int] | None:
        """The ``member``-th teacher head of each student head; None where that is the head of the same number."""
        return None if self.teacher_heads is None else self.teacher_heads[member :: self.group]


class Result(NamedTuple):
    """Loss and, if requested, its gradients for an upstream gradient of one; otherwise empty tensors."""

    loss: Tensor
    """``(B, H)``, the weighted sum over rows, in nats; float32, or float64 for float64 inputs."""
    q_gradient: Tensor
    """``(B, H, N, d)`` in the student's dtype."""
    k_gradient: Tensor
    """Like ``q_gradient``."""
    scale_gradient: Tensor
    """``(B, H)``, by the student's ``head_scale``, in the loss's dtype; empty without one."""
