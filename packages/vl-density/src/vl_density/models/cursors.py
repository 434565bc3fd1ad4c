"""Readers that go through images pixel by pixel while they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Cursor(Protocol):
    """Place in images that are being drawn: features of the present pixel, then its value, and on to the next."""

    def features(self) -> Tensor:
        """Features of the present pixel, ``(B, n_features)``."""

    def push(self, pixels: Tensor) -> None:
        """Set the present pixel, integer levels ``(B, C)``, and go to the next."""


class RecomputingCursor:
    """The plain way: compute the whole network for every pixel.

    Args:
        network: Gives features ``(B, H, W, n_features)`` of integer levels and classes.
        shape: ``(B, C, H, W)``.
        condition: Classes ``(B,)``, or None.
        device: Where the images lie.
    """

    def __init__(
        self,
        network: Callable[[Tensor, Tensor | None], Tensor],
        shape: tuple[int, ...],
        condition: Tensor | None,
        device: torch.device,
    ):
        self._network, self._condition = network, condition
        self._pixels = torch.zeros(shape, dtype=torch.long, device=device)
        self._place = 0

    def features(self) -> Tensor:
        """Features of the present pixel."""
        row, column = divmod(self._place, self._pixels.shape[3])
        return self._network(self._pixels, self._condition)[:, row, column]

    def push(self, pixels: Tensor) -> None:
        """Set the present pixel, and go to the next."""
        row, column = divmod(self._place, self._pixels.shape[3])
        self._pixels[:, :, row, column] = pixels
        self._place += 1
