"""Momentum encoder: a copy of the trained branch that follows it slowly."""

from __future__ import annotations

import copy
import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

MomentumSchedule: TypeAlias = Literal["cosine", "constant"]


class MomentumEncoder(nn.Module):
    """Copy of a backbone and a projector whose weights are an exponential moving average of theirs.

    Only parameters are averaged. Batch normalization runs in the mode of the method, so in training the copy normalizes
    by the statistics of its own batch; its running statistics are buffers of its own, which nothing copies.

    Args:
        backbone: The trained backbone.
        projector: The trained projector.

    Example:
        >>> encoder = MomentumEncoder(nn.Linear(4, 8), nn.Linear(8, 2))
        >>> encoder(torch.rand(3, 4)).requires_grad
        False
    """

    def __init__(self, backbone: nn.Module, projector: nn.Module):
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.projector = copy.deepcopy(projector).requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Projections ``(B, k)`` of images, without gradient."""
        found: Tensor = self.projector(self.backbone(images))
        return found

    @torch.no_grad()
    def follow(self, backbone: nn.Module, projector: nn.Module, momentum: float) -> None:
        """Move each parameter: ``copy <- momentum * copy + (1 - momentum) * trained``.

        Args:
            backbone: The trained backbone.
            projector: The trained projector.
            momentum: Share of the copy that stays, from 0 to 1.
        """
        trained: list[Tensor] = [*backbone.parameters(), *projector.parameters()]
        torch._foreach_lerp_([*self.parameters()], trained, 1 - momentum)


def momentum_at(start: float, schedule: MomentumSchedule, update: int, updates: int) -> float:
    """Momentum after a step of the optimizer.

    ``"cosine"`` rises from ``start`` to 1: ``1 - (1 - start) (1 + cos(pi update / updates)) / 2`` (Grill et al., 2020,
    section 3.2).

    Args:
        start: Momentum after the first step.
        schedule: ``"cosine"``, or ``"constant"`` for ``start`` throughout.
        update: Number of the step, from 0.
        updates: Steps of the whole run.

    Example:
        >>> momentum_at(0.9, "cosine", 50, 100)
        0.95
    """
    if schedule == "constant":
        return start
    return 1 - (1 - start) * (1 + math.cos(math.pi * update / updates)) / 2


def check_momentum(momentum: float, schedule: str) -> None:
    """Raise if a momentum or its schedule cannot be.

    Raises:
        ValueError: If ``momentum`` is not from 0 to 1, or the schedule is neither of the two.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum must be from 0 to 1, got {momentum:g}; it is the share of the copy that stays")
    if schedule not in ("cosine", "constant"):
        raise ValueError(f"momentum_schedule must be 'cosine' or 'constant', got {schedule!r}; name one of them")
