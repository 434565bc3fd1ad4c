"""Stochastic depth with the same masks in student and teacher, as in the published runs of Attention Transfer.

There, which samples skip which branch is drawn once for each step and used by both models, so that the student learns
the maps of a teacher that is thinned as it is itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vl_attention.models.layout import ViTLayout

_BRANCHES = ("drop_path1", "drop_path2")


class MaskedPath(nn.Module):
    """Multiplies the output of a branch by a factor for each image."""

    factor: Tensor

    def forward(self, branch: Tensor) -> Tensor:
        """Scale ``(B, N, D)`` by `factor` ``(B,)``."""
        return branch * self.factor.to(branch.dtype).view(-1, *(1,) * (branch.ndim - 1))


class SharedDropPath:
    """Draws the masks of a student's stochastic depth, and applies them to both models.

    Args:
        student: A timm model, whose rates are used.
        teacher: A timm model of the same depth.

    Raises:
        ValueError: If the depths differ, or a block has no two branches with stochastic depth.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module):
        self._student: Any = student
        self._blocks = [
            [model.get_submodule(name) for name in ViTLayout.of(model).blocks] for model in (student, teacher)
        ]
        if len(self._blocks[0]) != len(self._blocks[1]):
            raise ValueError(
                "teacher_drop_path=True needs models of equal depth, whose blocks skip the same branches, got "
                f"{len(self._blocks[0])} blocks in the student and {len(self._blocks[1])} in the teacher"
            )
        for model, blocks in zip((student, teacher), self._blocks, strict=True):
            if not all(hasattr(block, branch) for block in blocks for branch in _BRANCHES):
                raise ValueError(
                    "teacher_drop_path=True needs blocks with drop_path1 and drop_path2, as timm's ViT, EVA and BEiT "
                    f"have, and those of {type(model).__name__} are {type(blocks[0]).__name__}; leave it False"
                )
        self._warned = False
        self._paths = [(MaskedPath(), branch) for _ in self._blocks[0] for branch in _BRANCHES]

    @contextmanager
    def active(self, images: Tensor) -> Iterator[None]:
        """Draw masks for a batch ``(B, ...)``, and use them in both models until the end.

        Warns:
            UserWarning: If all rates are zero, the first time.

        Raises:
            ValueError: If the student uses gradient checkpointing, which would run branches again with other masks.
        """
        if getattr(self._student, "grad_checkpointing", False):
            raise ValueError(
                "teacher_drop_path=True does not work with gradient checkpointing, which runs blocks again without the "
                "shared masks; turn checkpointing off, or leave teacher_drop_path False"
            )
        if not self._warned and not any(_rate(block, branch) for block in self._blocks[0] for branch in _BRANCHES):
            self._warned = True
            warnings.warn(
                "teacher_drop_path=True has no effect, since the student has no stochastic depth; pass drop_path=0.1, "
                "or create the student with drop_path_rate=0.1",
                stacklevel=2,
            )
        places = [(ours, theirs) for ours, theirs in zip(*self._blocks, strict=True) for _ in _BRANCHES]
        replaced: list[tuple[nn.Module, str, nn.Module]] = []
        try:
            for (ours, theirs), (path, branch) in zip(places, self._paths, strict=True):
                if not (rate := _rate(ours, branch)):
                    continue
                path.factor = torch.empty(len(images), device=images.device).bernoulli_(1 - rate) / (1 - rate)
                for block in (ours, theirs):
                    replaced.append((block, branch, getattr(block, branch)))
                    setattr(block, branch, path)
            yield
        finally:
            for block, branch, module in replaced:
                setattr(block, branch, module)


def _rate(block: nn.Module, branch: str) -> float:
    """Rate of stochastic depth of a branch."""
    return float(getattr(getattr(block, branch), "drop_prob", None) or 0.0)
