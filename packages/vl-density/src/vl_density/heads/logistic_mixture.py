"""The discretized mixture of logistics, in a form that is exact for every scale and has no branches.

Salimans, Karpathy, Chen and Kingma, *PixelCNN++*, ICLR 2017, section 2.1 and 2.2. A level k stands for the interval
around x = 2k / (levels - 1) - 1 of width 2 / (levels - 1), open to the outside for the lowest and the highest. With the
interval's ends at distances a > b from the mean, in units of the scale,

    log(sigmoid(a) - sigmoid(b)) = -softplus(-a) - softplus(b) + log(1 - exp(b - a)),

where a - b depends on the scale alone. Nothing underflows: no fallback to the density at the center is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from vl_density.heads._head import Head, levels_beside

_MIN_LOG_SCALE = -7.0


class LogisticMixture(Head):
    """Mixture of logistics; all channels of a pixel share the component.

    In a component, the mean of each channel is shifted by learned multiples of the channels before it.

    Args:
        channels: Channels of an image.
        levels: Gray values of a channel.
        components: Number of components.
    """

    def __init__(self, channels: int, levels: int, components: int = 10):
        if components < 1:
            raise ValueError(f"components must be at least 1, got {components}")
        super().__init__(channels, levels)
        self.components = components
        self._pairs = channels * (channels - 1) // 2
        # Logits, and for each component means, logarithms of scales and coefficients of channels before.
        self.n_features = components * (1 + 2 * channels + self._pairs)
        self.n_uniforms = 1 + channels

    def log_prob(self, features: Tensor, pixels: Tensor) -> Tensor:
        """Log-probability of each channel ``(..., channels)``, given those before it.

        The sum over channels is the mixture's; the share of a channel is that of the mixture whose components are
        weighted by how well they explain the channels before.
        """
        return self._log_prob(features, pixels, self._interval)

    def relaxed_log_prob(self, features: Tensor, values: Tensor) -> Tensor:
        """Log-probability ``(..., channels)`` of real levels; in each component linear between the levels beside."""
        return self._log_prob(features, values, self._between)

    def _log_prob(self, features: Tensor, pixels: Tensor, interval: Callable[..., Tensor]) -> Tensor:
        """Log-probability of each channel, from that of a level's interval for each component."""
        logits, means, log_scales, coefficients = self._parts(features)
        values = self._values(pixels, features.dtype)
        joint = logits.log_softmax(-1)
        before = torch.zeros_like(joint[..., 0])
        found = []
        for channel in range(self.channels):
            shifted = self._mean(means, coefficients, values, channel)
            joint = joint + interval(pixels[..., channel], shifted, log_scales[channel])
            after = joint.logsumexp(-1)
            found.append(after - before)
            before = after
        return torch.stack(found, -1)

    def draw(self, features: Tensor, uniforms: Tensor) -> Tensor:
        """Draw the component and then each channel, by inverse distribution functions, rounded to the levels."""
        logits, means, log_scales, coefficients = self._parts(features)
        below = logits.softmax(-1).cumsum(-1)
        component = (uniforms[..., :1] >= below[..., :-1]).sum(-1, keepdim=True)
        pixels = torch.zeros((*features.shape[:-1], self.channels), dtype=torch.long, device=features.device)
        # In the interior of the unit interval, where the inverse is finite.
        tiny = torch.finfo(features.dtype).eps
        inner = uniforms[..., 1:].clamp(tiny, 1 - tiny)
        for channel in range(self.channels):
            values = self._values(pixels, features.dtype)
            mean = self._mean(means, coefficients, values, channel).gather(-1, component)[..., 0]
            scale = log_scales[channel].gather(-1, component)[..., 0].exp()
            value = mean + scale * torch.logit(inner[..., channel])
            level = ((value + 1) * (self.levels - 1) / 2).round()
            pixels[..., channel] = level.clamp(0, self.levels - 1).long()
        return pixels

    def _parts(self, features: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
        """Logits, and by channel or pair: means, logarithms of scales and coefficients, each ``(..., components)``."""
        parts = features.reshape(*features.shape[:-1], -1, self.components).unbind(-2)
        n = self.channels
        scales = [part.clamp(min=_MIN_LOG_SCALE) for part in parts[1 + n : 1 + 2 * n]]
        return parts[0], list(parts[1 : 1 + n]), scales, [part.tanh() for part in parts[1 + 2 * n :]]

    def _values(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        return pixels.to(dtype) * (2 / (self.levels - 1)) - 1

    def _mean(self, means: list[Tensor], coefficients: list[Tensor], values: Tensor, channel: int) -> Tensor:
        mean = means[channel]
        first = channel * (channel - 1) // 2
        for before in range(channel):
            mean = mean + coefficients[first + before] * values[..., before, None]
        return mean

    def _between(self, level: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Log-probability between those of the intervals of two levels, for each component."""
        below, above, share = levels_beside(level, self.levels)
        low, high = self._interval(below, mean, log_scale), self._interval(above, mean, log_scale)
        return low + share[..., None] * (high - low)

    def _interval(self, level: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Log-probability of the interval of a level, for each component."""
        half = 1 / (self.levels - 1)
        inverse = (-log_scale).exp()
        value = self._values(level, mean.dtype)
        center = (value[..., None] - mean) * inverse
        above, below = center + half * inverse, center - half * inverse
        lowest, highest = (level == 0)[..., None], (level == self.levels - 1)[..., None]
        left = torch.where(highest, 0.0, F.softplus(-above))
        right = torch.where(lowest, 0.0, F.softplus(below))
        width = 2 * half * inverse
        # log(1 - exp(-width)): by expm1 for narrow widths, by log1p for others (Maechler, 2012).
        narrow = width < math.log(2)
        inner = torch.where(
            narrow,
            (-torch.expm1(-torch.where(narrow, width, 1.0))).log(),
            torch.log1p(-torch.exp(-torch.where(narrow, 1.0, width))),
        )
        return torch.where(lowest | highest, 0.0, inner) - left - right
