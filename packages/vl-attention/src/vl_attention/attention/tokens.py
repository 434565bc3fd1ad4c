"""The tokens that two models have in common: patches, and the class, distillation and register tokens of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from vl_attention.attention.inputs import AttentionError

Tokens: TypeAlias = Tensor | None
"""Indices ``(N,)`` of the tokens that take part, int64; None for all."""


@dataclass(frozen=True)
class CommonTokens:
    """Kinds of the prefix tokens of two models, in order."""

    student: tuple[str, ...]
    teacher: tuple[str, ...]

    def choose(self, student: Tensor, teacher: Tensor, dim: int) -> tuple[Tokens, Tokens]:
        """Indices of the common tokens in two tensors with one entry per token in dimension ``dim``.

        Raises:
            AttentionError: If the two have different numbers of patches.
        """
        patches = [t.shape[dim] - len(prefix) for t, prefix in ((student, self.student), (teacher, self.teacher))]
        if patches[0] != patches[1]:
            raise AttentionError(
                f"the student divides these images into {patches[0]} patches and the teacher into {patches[1]}; both "
                "need the same grid: build the student with the teacher's patch size and image size, or leave "
                "student=None"
            )
        if self.student == self.teacher:
            return None, None
        common = [kind for kind in self.student if kind in self.teacher]
        return (
            _indices(self.student, common, student.shape[dim], student.device),
            _indices(self.teacher, common, teacher.shape[dim], teacher.device),
        )


def _indices(prefix: tuple[str, ...], common: list[str], tokens: int, device: torch.device) -> Tensor:
    return torch.tensor([*(prefix.index(kind) for kind in common), *range(len(prefix), tokens)], device=device)
