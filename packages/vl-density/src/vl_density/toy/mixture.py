"""An autoregressive density of real vectors: each value has a mixture of Gaussians, given those before it.

Bishop's mixture density network (*Mixture Density Networks*, 1994) for each conditional distribution, as in the
real-valued autoregressive estimator of Uria, Murray and Larochelle (*RNADE*, NeurIPS 2013), here with one network for
each value and no shared weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from vl_core.progress import progress_bar

_MIN_LOG_SCALE = -7.0


class AutoregressiveMixture(nn.Module):
    """Product of conditional mixtures of Gaussians, one network with two hidden layers for each value.

    Args:
        dimensions: Values of a point, at least 2.
        width: Units of a hidden layer.
        components: Gaussians of a mixture.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> AutoregressiveMixture(dimensions=4).log_prob(torch.zeros(3, 4)).shape
        torch.Size([3])
    """

    def __init__(self, *, dimensions: int, width: int = 32, components: int = 2):
        super().__init__()
        for name, value, least in (("dimensions", dimensions, 2), ("width", width, 1), ("components", components, 1)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        self.dimensions, self.components = dimensions, components
        sizes = (dimensions, width, width, 3 * components)
        # One matrix for each value; the last layer begins small, so that all values begin alike.
        gains = (1.0, 1.0, 0.3)
        self.weights = nn.ParameterList(
            nn.Parameter(gain * torch.randn(dimensions, inputs, outputs) / math.sqrt(inputs))
            for gain, inputs, outputs in zip(gains, sizes, sizes[1:], strict=False)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(dimensions, 1, outputs)) for outputs in sizes[1:])
        with torch.no_grad():
            first = self.biases[-1].view(dimensions, 3, components)
            first[:, 1] = torch.linspace(-1, 1, components)
            first[:, 2] = -1
        self.before: Tensor
        self.register_buffer("before", torch.ones(dimensions, dimensions).tril(-1)[:, None], persistent=False)

    def log_prob(self, points: Tensor) -> Tensor:
        """Exact log-density of points ``(N, dimensions)``, nats ``(N,)``; differentiable in the points, too."""
        weights, means, log_scales = self._mixtures(points)
        distance = (points.T[..., None] - means) * (-log_scales).exp()
        parts = weights - distance.square() / 2 - log_scales - math.log(2 * math.pi) / 2
        result: Tensor = parts.logsumexp(-1).sum(0)
        return result

    def forward(self, points: Tensor) -> Tensor:
        """Log-density, as `log_prob`."""
        return self.log_prob(points)

    @torch.no_grad()
    def sample(self, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw points value by value, ``(count, dimensions)``."""
        points: Tensor = self.weights[0].new_zeros(count, self.dimensions)
        for place in range(self.dimensions):
            weights, means, log_scales = (part[place] for part in self._mixtures(points))
            which = torch.multinomial(weights.exp(), 1, generator=generator)
            noise = torch.randn(count, 1, generator=generator)
            points[:, place] = (means.gather(1, which) + log_scales.gather(1, which).exp() * noise)[:, 0]
        return points

    def _mixtures(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms of weights, means and logarithms of scales, each ``(dimensions, N, components)``."""
        hidden = points[None] * self.before
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < last:
                hidden = hidden.relu()
        weights, means, log_scales = hidden.view(*hidden.shape[:2], 3, self.components).unbind(2)
        return weights.log_softmax(-1), means, log_scales.clamp(min=_MIN_LOG_SCALE)


def fit_mixture(
    model: AutoregressiveMixture,
    points: Tensor,
    *,
    updates: int = 1000,
    batch_size: int = 256,
    learning_rate: float = 1e-2,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> None:
    """Maximize the likelihood in place, by Adam with a learning rate that falls along a cosine.

    Args:
        model: The density.
        points: Examples ``(N, dimensions)``.
        updates: Steps of the optimizer.
        batch_size: Examples of an update, drawn with replacement.
        learning_rate: At the beginning.
        generator: Source of the draws.
        progress: Show a progress bar.

    Raises:
        ValueError: If the points are none, not finite, or of another dimension than the model.

    Example:
        >>> model = AutoregressiveMixture(dimensions=32)
        >>> fit_mixture(model, TemplateDensity(dimensions=32).sample(10_000))
    """
    if points.ndim != 2 or not len(points) or points.shape[1] != model.dimensions or not points.isfinite().all():
        raise ValueError(
            f"points must be finite, of shape (N, {model.dimensions}) as the model, N at least 1, got "
            f"{tuple(points.shape)}"
        )
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in progress_bar(range(updates), desc="fit a mixture", unit="updates", disable=not progress):
        batch = points[torch.randint(len(points), (batch_size,), generator=generator)]
        loss = -model(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
