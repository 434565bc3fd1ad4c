"""Gated PixelCNN, with a reader that draws a row and a pixel at a time.

Van den Oord et al., *Conditional Image Generation with PixelCNN Decoders*, NeurIPS 2016. A vertical stack sees all rows
above, a horizontal one the pixels to the left and, by a link, the vertical stack. Both begin with inputs that are
shifted by one row or one pixel, so every later layer may see its own place, kernels hold causal taps alone, and no mask
is needed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_density.models.causal_convolutions import scaled_inputs
from vl_density.models.density import AutoregressiveDensity


class PixelCNN(AutoregressiveDensity):
    """Gated PixelCNN.

    Args:
        image_size: Height and width.
        channels: Channels of an image.
        levels: Gray values of a channel.
        head: `"categorical"`, `"logistic-mixture"` or `"bernoulli"`.
        head_options: Arguments of the head.
        num_classes: Number of classes to condition on; 0 for none.
        width: Features of each stack.
        layers: Number of gated layers.
        kernel_size: Odd width of the kernels; a layer sees half as many rows above.

    Example:
        >>> model = PixelCNN(image_size=(28, 28), channels=1, width=32, layers=4)
        >>> model.bits_per_dim(torch.zeros(1, 1, 28, 28)).shape
        torch.Size([1])
    """

    def __init__(
        self,
        *,
        image_size: tuple[int, int],
        channels: int = 3,
        levels: int = 256,
        head: str = "categorical",
        head_options: dict[str, Any] | None = None,
        num_classes: int = 0,
        width: int = 64,
        layers: int = 8,
        kernel_size: int = 3,
    ):
        super().__init__(
            image_size=image_size,
            channels=channels,
            levels=levels,
            head=head,
            head_options=head_options,
            num_classes=num_classes,
        )
        if kernel_size < 3 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and at least 3, got {kernel_size}")
        self.width = width
        # One input more than channels tells pixels from the border.
        self.vertical_input = nn.Linear(channels + 1, width)
        self.horizontal_input = nn.Linear(channels + 1, width)
        self.layers: Any = nn.ModuleList(GatedLayer(width, kernel_size) for _ in range(layers))
        self.classes = nn.Embedding(num_classes, 2 * layers * 2 * width) if num_classes else None
        self.output: Any = nn.Sequential(
            nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, self.head.n_features)
        )

    def features(self, pixels: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features of every pixel, ``(B, H, W, n_features)``."""
        values = self.inputs(pixels.movedim(1, -1))
        vertical = F.pad(self.vertical_input(values), (0, 0, 0, 0, 1, 0))[:, :-1]
        horizontal = F.pad(self.horizontal_input(values), (0, 0, 1, 0))[:, :, :-1]
        biases = self.biases(condition, len(pixels))
        for i, layer in enumerate(self.layers):
            vertical, horizontal = layer(vertical, horizontal, biases[i])
        result: Tensor = self.output(horizontal)
        return result

    def cursor(self, count: int, condition: Tensor | None = None) -> RowCursor:
        """Reader with caches of rows and pixels."""
        return RowCursor(self, count, condition)

    def inputs(self, pixels: Tensor) -> Tensor:
        """Inputs of the network for levels ``(..., C)``, ``(..., C + 1)``."""
        return scaled_inputs(pixels, self.levels, self.output[1].weight.dtype)

    def biases(self, condition: Tensor | None, count: int) -> Tensor:
        """Biases of the gates by layer and stack, ``(layers, 2, B, 2 width)``."""
        if self.classes is None or condition is None:
            zeros: Tensor = self.output[1].weight.new_zeros(len(self.layers), 2, 1, 2 * self.width)
            return zeros
        found: Tensor = self.classes(condition)
        return found.view(len(condition), len(self.layers), 2, -1).movedim(0, 2)


class GatedLayer(nn.Module):
    """Two convolutions with gates, a link from the vertical stack to the horizontal one, and a residual connection."""

    def __init__(self, width: int, kernel_size: int):
        super().__init__()
        self.rows, self.columns = (kernel_size + 1) // 2, kernel_size // 2
        self.vertical = nn.Conv2d(width, 2 * width, (self.rows, kernel_size))
        self.horizontal = nn.Linear((self.columns + 1) * width, 2 * width)
        self.link = nn.Linear(2 * width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, vertical: Tensor, horizontal: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Both stacks ``(B, H, W, width)`` a layer on; the biases are ``(2, B or 1, 2 width)``."""
        above = self.rows - 1
        padded = F.pad(vertical, (0, 0, 0, 0, above, 0))
        down = self.down(padded, bias[0][:, None, None])
        left = F.pad(horizontal, (0, 0, self.columns, 0))
        taps = torch.cat([left[:, :, i : i + horizontal.shape[2]] for i in range(self.columns + 1)], -1)
        right = self.horizontal(taps) + self.link(down) + bias[1][:, None, None]
        return gate(down), horizontal + self.output(gate(right))

    def down(self, rows: Tensor, bias: Tensor) -> Tensor:
        """Vertical convolution without padding of rows, before its gate; ``(B, rows, W, 2 width)``."""
        sides = F.pad(rows, (0, 0, self.columns, self.columns))
        found: Tensor = self.vertical(sides.movedim(-1, 1))
        return found.movedim(1, -1) + bias


def gate(values: Tensor) -> Tensor:
    """Half of the features as they are, gated by the other half."""
    first, second = values.chunk(2, -1)
    return first.tanh() * second.sigmoid()


class RowCursor:
    """Reader that computes the vertical stack once a row, and the horizontal one once a pixel."""

    def __init__(self, model: PixelCNN, count: int, condition: Tensor | None):
        self._model = model
        self._biases = model.biases(condition, count)
        height, width = model.image_size
        weight = model.output[1].weight
        new = weight.new_zeros
        self._nothing = new(count, model.width)
        self._size, self._place = (height, width), 0
        # Inputs of the last rows of every layer, oldest first, and of the last pixels of this row.
        self._above = [new(count, layer.rows, width, model.width) for layer in model.layers]
        self._left = [new(count, (layer.columns + 1) * model.width) for layer in model.layers]
        self._links: list[Tensor] = []
        self._row = new(count, width, model.channels + 1)
        self._pixel = new(count, model.channels + 1)

    def features(self) -> Tensor:
        """Features of the present pixel, ``(B, n_features)``."""
        row, column = divmod(self._place, self._size[1])
        if column == 0:
            self._begin_row(row)
        model = self._model
        first = column == 0
        values: Tensor = self._nothing if first else model.horizontal_input(self._pixel)
        for layer, left, link, bias in zip(model.layers, self._left, self._links, self._biases, strict=True):
            left[:, : -model.width] = left[:, model.width :].clone()
            left[:, -model.width :] = values
            right = layer.horizontal(left) + link[:, column] + bias[1]
            values = values + layer.output(gate(right))
        result: Tensor = model.output(values)
        return result

    def push(self, pixels: Tensor) -> None:
        """Set the present pixel, and go to the next."""
        self._pixel = self._model.inputs(pixels)
        self._row[:, self._place % self._size[1]] = self._pixel
        self._place += 1

    def _begin_row(self, row: int) -> None:
        """Take the row that was finished into the vertical stack, and forget the pixels to its left."""
        model = self._model
        nothing = torch.zeros_like(self._above[0][:, 0])
        values: Tensor = model.vertical_input(self._row) if row else nothing
        self._links = []
        for layer, above, left, bias in zip(model.layers, self._above, self._left, self._biases, strict=True):
            above[:, :-1] = above[:, 1:].clone()
            above[:, -1] = values
            down = layer.down(above, bias[0][:, None, None])[:, 0]
            self._links.append(layer.link(down))
            values = gate(down)
            left.zero_()
