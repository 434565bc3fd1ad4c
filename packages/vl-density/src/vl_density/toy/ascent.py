"""Gradient ascent on a log-density: points that a density finds more and more probable."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def ascend(
    log_prob: Callable[[Tensor], Tensor], starts: Tensor, *, steps: int = 500, step_size: float = 0.02
) -> Tensor:
    """Move points uphill on a log-density, by Adam with steps that shrink along a cosine.

    Args:
        log_prob: From points ``(N, ...)`` to their log-densities ``(N,)``, differentiable.
        starts: Points to begin with; left as they are.
        steps: Number of steps.
        step_size: Largest change of a value in the first step.

    Returns:
        The points at the end, detached.

    Raises:
        ValueError: If the starts are not finite, or a number is out of range.

    Example:
        >>> ends = ascend(lambda points: -points.square().sum(1), torch.ones(5, 2))
        >>> bool((ends.abs() < 1e-3).all())
        True
    """
    if steps < 1 or not step_size > 0:
        raise ValueError(f"steps must be at least 1 and step_size positive, got {steps} and {step_size}")
    if not starts.is_floating_point() or not starts.isfinite().all():
        raise ValueError("starts must be finite floating-point numbers")
    points = starts.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([points], step_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        # The weights of a network need no gradient.
        (gradient,) = torch.autograd.grad(log_prob(points).sum(), points)
        points.grad = -gradient
        optimizer.step()
        schedule.step()
    return points.detach()
