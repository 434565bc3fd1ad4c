"""The interface of a head: a distribution over the channels of one pixel, given the features of its context."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """Distribution of the channels of a pixel, each given those before it.

    Args:
        channels: Channels of an image.
        levels: Gray values of a channel.
    """

    n_features: int
    """Numbers that the network has to give for each pixel."""
    n_uniforms: int
    """Uniform numbers that a draw takes."""

    def __init__(self, channels: int, levels: int):
        super().__init__()
        self.channels, self.levels = channels, levels

    @abstractmethod
    def log_prob(self, features: Tensor, pixels: Tensor) -> Tensor:
        """Log-probability of each channel, given those before it.

        Args:
            features: ``(..., n_features)``.
            pixels: Integer levels ``(..., channels)``.

        Returns:
            Nats ``(..., channels)``.
        """

    @abstractmethod
    def relaxed_log_prob(self, features: Tensor, values: Tensor) -> Tensor:
        """Log-probability of each channel for values between levels: linear between those of the levels beside it.

        Channels before enter as they are, real numbers. At levels it is `log_prob`.

        Args:
            features: ``(..., n_features)``.
            values: Real levels ``(..., channels)`` from 0 to levels - 1; differentiable.

        Returns:
            Nats ``(..., channels)``.
        """

    @abstractmethod
    def draw(self, features: Tensor, uniforms: Tensor) -> Tensor:
        """Draw a pixel, as a function of uniform numbers.

        Args:
            features: ``(..., n_features)``.
            uniforms: In [0, 1), ``(..., n_uniforms)``.

        Returns:
            Integer levels ``(..., channels)``.
        """


def levels_beside(values: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Levels below and above real ones, int64, and the share of the one above, which is differentiable."""
    below = values.detach().floor().clamp(0, levels - 2).long()
    return below, below + 1, values - below
