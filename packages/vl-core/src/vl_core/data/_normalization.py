"""Normalization of images with a mean and a standard deviation per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per channel.

    Args:
        mean: Subtracted from each channel.
        std: Divides each channel afterwards.

    Raises:
        TypeError: If one of them does not hold numbers.
        ValueError: If the lengths differ or are 0, or a standard deviation is not positive.

    Example:
        >>> Normalization((0.5,), (0.5,))(torch.ones(1, 1, 2, 2)).unique().item()
        1.0
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = getattr(self, name)
            try:
                object.__setattr__(self, name, tuple(map(float, values)))
            except (TypeError, ValueError):
                hint = f"; write ({values},)" if isinstance(values, int | float) else ""
                raise TypeError(f"{name} must hold one number per channel, got {values!r}{hint}") from None
        if len(self.mean) != len(self.std) or not self.mean or not min(self.std) > 0:
            raise ValueError(
                f"mean and std must have one number per channel, std must be positive; got {self.mean} and {self.std}"
            )

    @classmethod
    def none(cls, channels: int = 3) -> Self:
        """The identity, for images that are already normalized."""
        return cls((0.0,) * channels, (1.0,) * channels)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalize images ``(..., C, H, W)`` in 0..1, differentiably.

        Raises:
            ValueError: If the number of channels differs.
        """
        if images.shape[-3] != len(self.mean):
            raise ValueError(f"images must have {len(self.mean)} channels, got {images.shape[-3]}")
        mean, std = (torch.tensor(v, dtype=images.dtype, device=images.device) for v in (self.mean, self.std))
        return (images - mean[:, None, None]) / std[:, None, None]
