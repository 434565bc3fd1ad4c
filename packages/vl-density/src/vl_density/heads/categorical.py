"""A free probability for each level: the categorical head, and its binary case."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_density.heads._head import Head, levels_beside


class Categorical(Head):
    """Softmax over the levels of each channel (van den Oord et al., *Pixel Recurrent Neural Networks*, 2016).

    A channel's logits are those of the network plus, for each channel before it in the same pixel, a learned row for
    that channel's level, so color channels depend on one another and all of it is one softmax.
    """

    def __init__(self, channels: int, levels: int):
        super().__init__(channels, levels)
        self.n_features, self.n_uniforms = channels * levels, channels
        pairs = channels * (channels - 1) // 2
        self.given = nn.Parameter(torch.zeros(pairs, levels, levels))

    def log_prob(self, features: Tensor, pixels: Tensor) -> Tensor:
        """Log-probability of each channel ``(..., channels)``, given those before it."""
        found = []
        for channel in range(self.channels):
            logits = self._logits(features, pixels, channel)
            found.append(F.log_softmax(logits, -1).gather(-1, pixels[..., channel : channel + 1]))
        return torch.cat(found, -1)

    def relaxed_log_prob(self, features: Tensor, values: Tensor) -> Tensor:
        """Log-probability ``(..., channels)`` of real levels; a channel before gives a mean of the rows beside it."""
        below, above, share = levels_beside(values, self.levels)
        found = []
        for channel in range(self.channels):
            logits = features[..., channel * self.levels : (channel + 1) * self.levels]
            first = channel * (channel - 1) // 2
            for before in range(channel):
                rows, part = self.given[first + before], share[..., before, None]
                logits = logits + (1 - part) * rows[below[..., before]] + part * rows[above[..., before]]
            one = slice(channel, channel + 1)
            log_probs = F.log_softmax(logits, -1)
            under, over = log_probs.gather(-1, below[..., one]), log_probs.gather(-1, above[..., one])
            found.append(under + share[..., one] * (over - under))
        return torch.cat(found, -1)

    def draw(self, features: Tensor, uniforms: Tensor) -> Tensor:
        """Draw each channel by its inverse distribution function."""
        pixels = features.new_zeros((*features.shape[:-1], self.channels), dtype=torch.long)
        for channel in range(self.channels):
            below = self._logits(features, pixels, channel).softmax(-1).cumsum(-1)
            # The last sum may fall short of 1 by rounding, so it is not compared.
            pixels[..., channel] = (uniforms[..., channel, None] >= below[..., :-1]).sum(-1)
        return pixels

    def _logits(self, features: Tensor, pixels: Tensor, channel: int) -> Tensor:
        logits = features[..., channel * self.levels : (channel + 1) * self.levels]
        first = channel * (channel - 1) // 2
        for before in range(channel):
            logits = logits + self.given[first + before][pixels[..., before]]
        return logits


class Bernoulli(Head):
    """One logit for each channel of binary images; channels depend on one another by a learned weight."""

    def __init__(self, channels: int, levels: int = 2):
        if levels != 2:
            raise ValueError(f"head 'bernoulli' needs levels=2, got {levels}; take 'categorical'")
        super().__init__(channels, 2)
        self.n_features = self.n_uniforms = channels
        self.given = nn.Parameter(torch.zeros(channels, channels))

    def log_prob(self, features: Tensor, pixels: Tensor) -> Tensor:
        """Log-probability of each channel ``(..., channels)``, given those before it."""
        signs = pixels.to(features.dtype) * 2 - 1
        logits = features + signs @ self.given.triu(1)
        return F.logsigmoid(signs * logits)

    def relaxed_log_prob(self, features: Tensor, values: Tensor) -> Tensor:
        """Log-probability ``(..., channels)`` of real levels from 0 to 1."""
        logits = features + (2 * values - 1) @ self.given.triu(1)
        return values * F.logsigmoid(logits) + (1 - values) * F.logsigmoid(-logits)

    def draw(self, features: Tensor, uniforms: Tensor) -> Tensor:
        """Draw each channel: 1 where the uniform number lies below its probability."""
        weights = self.given.triu(1)
        signs = torch.zeros_like(features)
        for channel in range(self.channels):
            logit = features[..., channel] + signs @ weights[:, channel]
            signs[..., channel] = torch.where(uniforms[..., channel] < logit.sigmoid(), 1.0, -1.0).to(signs.dtype)
        return (signs > 0).long()
