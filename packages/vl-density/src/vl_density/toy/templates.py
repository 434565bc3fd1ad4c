"""A density that is known in full: a few templates of plus and minus one, under Gaussian noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class TemplateDensity:
    """Equal mixture of Gaussians around templates, whose values are -1 or 1.

    Given the values before it, a value has a mixture of two Gaussians, so the true conditional distributions are in the
    family of an `AutoregressiveMixture` with two components. What has to be learned is the weight of the two.

    Args:
        dimensions: Values of a point, at least 2.
        templates: Number of templates, drawn at random, at least 1.
        noise: Standard deviation of the noise.
        seed: Seed of the templates.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> density = TemplateDensity(dimensions=32, templates=8)
        >>> density.log_prob(density.templates).shape
        torch.Size([8])
    """

    def __init__(self, *, dimensions: int = 32, templates: int = 8, noise: float = 0.4, seed: int = 0):
        if dimensions < 2 or templates < 1:
            raise ValueError(
                f"dimensions must be at least 2 and templates at least 1, got {dimensions} and {templates}"
            )
        if not 0 < noise < math.inf:
            raise ValueError(f"noise must be positive and finite, got {noise}")
        generator = torch.Generator().manual_seed(seed)
        self.templates = torch.randint(2, (templates, dimensions), generator=generator) * 2.0 - 1
        self.dimensions, self.noise = dimensions, noise

    def sample(self, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw points, ``(count, dimensions)``."""
        which = torch.randint(len(self.templates), (count,), generator=generator)
        return self.templates[which] + self.noise * torch.randn(count, self.dimensions, generator=generator)

    def log_prob(self, points: Tensor) -> Tensor:
        """Exact log-density of points ``(N, dimensions)``, nats ``(N,)``; differentiable."""
        templates = self.templates.to(points.dtype)
        squares = (points[:, None] - templates).square().sum(-1)
        constant = self.dimensions * math.log(self.noise * math.sqrt(2 * math.pi)) + math.log(len(templates))
        return (-squares / (2 * self.noise**2)).logsumexp(1) - constant

    def flips(self, points: Tensor) -> Tensor:
        """Number of values whose sign differs from that of the nearest template, int64 ``(N,)``."""
        nearest = torch.cdist(points, self.templates.to(points.dtype)).argmin(1)
        return (points.sign() != self.templates[nearest].to(points.dtype)).sum(1)
