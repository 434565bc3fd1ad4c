"""Convolutions that see rows above, or rows above and pixels to the left; whole images, or a row or a pixel at a time.

Images have their features last. A convolution with stride 2 keeps the places with even row and column.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DownConvolution(nn.Conv2d):
    """Two rows, this one and the one above, three columns wide."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__(inputs, outputs, (2, 3), stride)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve ``(B, H, W, inputs)``."""
        padded = F.pad(images, (0, 0, 1, 1, 1, 0))
        return super().forward(padded.movedim(-1, 1)).movedim(1, -1)


class RightConvolution(nn.Conv2d):
    """Two rows, this one and the one above, and two columns, this one and the one to the left."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__(inputs, outputs, (2, 2), stride)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve ``(B, H, W, inputs)``."""
        padded = F.pad(images, (0, 0, 1, 0, 1, 0))
        return super().forward(padded.movedim(-1, 1)).movedim(1, -1)


class DownCache:
    """Gives a `DownConvolution` a row at a time, and keeps the last one."""

    def __init__(self, convolution: DownConvolution, count: int, width: int):
        self._convolution = convolution
        self._rows = convolution.weight.new_zeros(count, convolution.in_channels, 2, width + 2)

    def push(self, row: Tensor) -> None:
        """Take the next row ``(B, W, inputs)``."""
        self._rows[:, :, 0] = self._rows[:, :, 1]
        self._rows[:, :, 1, 1:-1] = row.movedim(-1, 1)

    def output(self) -> Tensor:
        """Output for the last row, ``(B, W / stride, outputs)``."""
        one = self._convolution
        return F.conv2d(self._rows, one.weight, one.bias, (1, one.stride[1]))[:, :, 0].movedim(1, -1)


class RightCache:
    """Gives a `RightConvolution` a pixel at a time, and keeps the row above."""

    def __init__(self, convolution: RightConvolution, count: int, width: int):
        self._weight = convolution.weight.movedim(1, -1).flatten(1)
        self._bias = convolution.bias
        # A column of zeros stands before the first one.
        self._rows = convolution.weight.new_zeros(count, 2, width + 1, convolution.in_channels)
        self._column = 0

    def begin_row(self) -> None:
        """Go to the next row."""
        self._rows[:, 0] = self._rows[:, 1]
        self._rows[:, 1] = 0
        self._column = 0

    def push(self, pixel: Tensor) -> None:
        """Take the next pixel of the row, ``(B, inputs)``."""
        self._column += 1
        self._rows[:, 1, self._column] = pixel

    def output(self) -> Tensor:
        """Output for the last pixel, ``(B, outputs)``."""
        patch = self._rows[:, :, self._column - 1 : self._column + 1]
        return F.linear(patch.flatten(1), self._weight, self._bias)


def scaled_inputs(pixels: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Integer levels ``(..., C)`` as numbers from -1 to 1, and a one that tells pixels from the border."""
    values = pixels.to(dtype) * (2 / (levels - 1)) - 1
    return F.pad(values, (0, 1), value=1.0)


def shift_down(images: Tensor) -> Tensor:
    """Move ``(B, H, W, F)`` down by a row of zeros."""
    return F.pad(images, (0, 0, 0, 0, 1, 0))[:, :-1]


def shift_right(images: Tensor) -> Tensor:
    """Move ``(B, H, W, F)`` to the right by a column of zeros."""
    return F.pad(images, (0, 0, 1, 0))[:, :, :-1]


def concat_elu(values: Tensor) -> Tensor:
    """Exponential linear units of values and of their negatives, features doubled."""
    return F.elu(torch.cat([values, -values], -1))
