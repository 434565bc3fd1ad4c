"""The layer: sines and cosines of projections on trained frequencies."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Sigma: TypeAlias = float | Sequence[float] | Literal["auto"]
"""Standard deviation of the frequencies: of all, of those of each input, or in units of the inputs' own spread."""

AUTO_SIGMA = 0.03
"""Standard deviation for ``"auto"``, in cycles per standard deviation of an input. Our choice: the published values
(0.001 to 0.01 for inputs of the DeepMind Control Suite, whose velocities spread over several units) lie around it."""


class FourierFeatures(nn.Module):
    """Learned Fourier features ``[sin 2πBx, cos 2πBx]``, with the input ``x`` itself if it is asked for.

    Section 4 of Li and Pathak (NeurIPS 2021). The entries of B are drawn from N(0, sigma²) and then trained. A small
    sigma gives a kernel that prefers smooth functions, a large one a kernel that fits noise: at initialization the
    product of two feature vectors, over F/2, has the mean ``exp(-2π²sigma²‖x-x'‖²)``.

    B is a parameter of this module and of no linear layer inside it, so that initialization of layers by type, such as
    ``ortho_init`` of stable-baselines3, leaves its scale alone.

    Args:
        in_features: Number of inputs d.
        fourier_dim: Number of features F, half sines and half cosines; even.
        sigma: Standard deviation of the entries of B, in cycles per unit of an input; one number for each input; or
            ``"auto"`` for `AUTO_SIGMA` after division of each input by its standard deviation, see `set_scale`.
        trainable: If False, B stays as it was drawn.
        concatenate: Put the input before the features.
        dim: Dimension of the inputs in a tensor: -1, or 1 for the channels of images ``(B, C, H, W)``, which are
            projected by a 1x1 convolution.
        generator: Source of the entries of B; the default generator of the CPU if it is None.

    Raises:
        ValueError: If a size or a standard deviation is out of range.

    Example:
        >>> features = FourierFeatures(3, 64, sigma=0.01)
        >>> features(torch.zeros(2, 3)).shape
        torch.Size([2, 67])
    """

    scale: Tensor
    measured: Tensor
    """Number of observations that the scale was taken from, 0 before it was measured; kept with the weights."""

    def __init__(
        self,
        in_features: int,
        fourier_dim: int,
        *,
        sigma: Sigma = 0.01,
        trainable: bool = True,
        concatenate: bool = True,
        dim: Literal[-1, 1] = -1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        deviations = check_settings(in_features, fourier_dim, sigma)
        fourier_dim = operator.index(fourier_dim)
        self.in_features, self.fourier_dim, self.sigma = in_features, fourier_dim, sigma
        self.concatenate, self.dim = concatenate, dim
        frequencies = torch.randn(in_features, fourier_dim // 2, generator=generator) * deviations[:, None]
        self.B = nn.Parameter(frequencies, requires_grad=trainable)
        self.register_buffer("scale", torch.ones(in_features))
        self.register_buffer("measured", torch.tensor(0))

    @property
    def out_features(self) -> int:
        """Number of outputs."""
        return self.fourier_dim + (self.in_features if self.concatenate else 0)

    def set_scale(self, inputs: Tensor, *, observations: int | None = None) -> None:
        """Divide inputs by the standard deviations of these ``(N, d)`` from now on; one that is constant by 1.

        Args:
            inputs: The inputs.
            observations: Number of observations that they come from; None for N.

        Raises:
            ValueError: If there are fewer than two rows, or another number of inputs.
        """
        if inputs.ndim != 2 or len(inputs) < 2 or inputs.shape[1] != self.in_features:
            raise ValueError(f"inputs must have shape (N >= 2, {self.in_features}), got {tuple(inputs.shape)}")
        deviation = inputs.detach().float().std(dim=0)
        # In place, since a compiled or copied module holds this very tensor.
        self.scale.copy_(torch.where(deviation > 1e-6, 1 / deviation.clamp_min(1e-6), torch.ones_like(deviation)))
        self.measured.fill_(len(inputs) if observations is None else observations)

    def forward(self, x: Tensor) -> Tensor:
        """Features of inputs ``(..., d)``, or ``(B, d, H, W)`` with ``dim=1``, along the same dimension."""
        frequencies = 2 * math.pi * self.scale[:, None] * self.B
        phase = x @ frequencies if self.dim == -1 else functional.conv2d(x, frequencies.t()[:, :, None, None])
        parts = [x] if self.concatenate else []
        return torch.cat([*parts, torch.sin(phase), torch.cos(phase)], dim=self.dim)

    @torch.no_grad()
    def mean_frequency(self) -> float:
        """Mean length of the frequencies, in cycles per unit of the inputs."""
        return float((self.scale[:, None] * self.B).norm(dim=0).mean())

    def extra_repr(self) -> str:
        """Sizes and settings."""
        trainable = self.B.requires_grad
        return f"{self.in_features}, {self.fourier_dim}, sigma={self.sigma}, trainable={trainable}"


def check_settings(in_features: int | None, fourier_dim: int, sigma: Sigma) -> Tensor:
    """Standard deviations of the frequencies of each input ``(d,)``; a single one without `in_features`.

    Raises:
        ValueError: If a size or a standard deviation is out of range.
    """
    if isinstance(fourier_dim, bool) or not hasattr(fourier_dim, "__index__") or fourier_dim < 2 or fourier_dim % 2:
        raise ValueError(f"fourier_dim must be an even whole number of at least 2, got {fourier_dim!r}")
    if in_features is not None and in_features < 1:
        raise ValueError(f"in_features must be at least 1, got {in_features}")
    if isinstance(sigma, str) and sigma == "auto":
        sigma = AUTO_SIGMA
    try:
        if isinstance(sigma, bool):
            raise TypeError
        deviations = torch.as_tensor(sigma, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"sigma must be a number, one for each input, or 'auto', got {sigma!r}") from None
    if deviations.ndim > 1 or not (deviations > 0).all() or not deviations.isfinite().all():
        raise ValueError(f"sigma must be above 0, got {sigma}; 0.001 to 0.1 are usual")
    if in_features is None or deviations.ndim == 0:
        return deviations.reshape(-1).expand(in_features or deviations.numel())
    if len(deviations) != in_features:
        raise ValueError(
            f"sigma must be one number, or one for each of the {in_features} inputs of the network, got "
            f"{len(deviations)}; the inputs of a Q-network are the observation and the action"
        )
    return deviations
