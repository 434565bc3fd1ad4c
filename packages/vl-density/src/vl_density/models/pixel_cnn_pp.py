"""PixelCNN++: two streams through an hourglass of resolutions, with a reader that skips what has not changed.

Salimans, Karpathy, Chen and Kingma, *PixelCNN++*, ICLR 2017. One stream sees all rows above, the other also the pixels
to the left; each stage halves the resolution, and the way back has short-cuts from the way down. The reader keeps the
last row of every convolution's input (Ramachandran et al., *Fast Generation for Convolutional Autoregressive Models*,
2017): a stage of half the resolution is computed for every second row and column only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_density.models.causal_convolutions import (
    DownCache,
    DownConvolution,
    RightCache,
    RightConvolution,
    concat_elu,
    scaled_inputs,
    shift_down,
    shift_right,
)
from vl_density.models.density import AutoregressiveDensity

Convolution = Callable[[nn.Module, Tensor], Tensor]
"""Applies a convolution: to whole images, or to the next row or pixel."""


class PixelCNNPP(AutoregressiveDensity):
    """PixelCNN++.

    Args:
        image_size: Height and width, divisible by 2^(stages - 1).
        channels: Channels of an image.
        levels: Gray values of a channel.
        head: `"logistic-mixture"`, as in the paper, `"categorical"` or `"bernoulli"`.
        head_options: Arguments of the head.
        num_classes: Number of classes to condition on; 0 for none.
        width: Features of each stream; 160 in the paper.
        layers: Residual blocks of a stage on the way down; 5 in the paper.
        stages: Number of resolutions; 3 in the paper.
        dropout: Share of activations that training sets to zero; 0.5 in the paper.

    Example:
        >>> model = PixelCNNPP(image_size=(8, 8), channels=3, width=16, layers=1, stages=2)
        >>> model.log_prob(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2])
    """

    def __init__(
        self,
        *,
        image_size: tuple[int, int],
        channels: int = 3,
        levels: int = 256,
        head: str = "logistic-mixture",
        head_options: dict[str, Any] | None = None,
        num_classes: int = 0,
        width: int = 64,
        layers: int = 2,
        stages: int = 3,
        dropout: float = 0.5,
    ):
        super().__init__(
            image_size=image_size,
            channels=channels,
            levels=levels,
            head=head,
            head_options=head_options,
            num_classes=num_classes,
        )
        factor = 2 ** (stages - 1)
        if stages < 1 or any(side % factor for side in image_size):
            raise ValueError(f"image_size must be divisible by 2^(stages - 1) = {factor}, got {tuple(image_size)}")
        self.width = width
        self.down_input = DownConvolution(channels + 1, width)
        self.right_input = RightConvolution(channels + 1, width)
        self.stage = Stage(width, layers, stages, num_classes, dropout)
        self.output = nn.Linear(width, self.head.n_features)

    def features(self, pixels: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features of every pixel, ``(B, H, W, n_features)``."""
        values = self.inputs(pixels.movedim(1, -1))
        down, right = shift_down(self.down_input(values)), shift_right(self.right_input(values))
        _, right = self.stage(down, right, condition)
        result: Tensor = self.output(F.elu(right))
        return result

    def cursor(self, count: int, condition: Tensor | None = None) -> StreamCursor:
        """Reader with the last rows of every convolution's input."""
        return StreamCursor(self, count, condition)

    def inputs(self, pixels: Tensor) -> Tensor:
        """Inputs of the network for levels ``(..., C)``, ``(..., C + 1)``."""
        return scaled_inputs(pixels, self.levels, self.output.weight.dtype)


class GatedBlock(nn.Module):
    """Residual block of two convolutions and a gate, with features of another stream or of a short-cut.

    Args:
        kind: Class of the convolutions.
        width: Features.
        others: Features that join; 0 for none.
        num_classes: Number of classes that shift the gate; 0 for none.
        dropout: Share of activations that training sets to zero.
    """

    def __init__(
        self,
        kind: type[DownConvolution] | type[RightConvolution],
        width: int,
        others: int,
        num_classes: int,
        dropout: float,
    ):
        super().__init__()
        self.first, self.second = kind(2 * width, width), kind(2 * width, 2 * width)
        self.joining = nn.Linear(2 * others, width) if others else None
        self.classes = nn.Embedding(num_classes, 2 * width) if num_classes else None
        self.dropout = dropout

    def forward(self, values: Tensor, others: Tensor | None, condition: Tensor | None, convolve: Convolution) -> Tensor:
        """Values ``(B, ..., width)``, a block on."""
        hidden = convolve(self.first, concat_elu(values))
        if self.joining is not None and others is not None:
            hidden = hidden + self.joining(concat_elu(others))
        hidden = convolve(self.second, F.dropout(concat_elu(hidden), self.dropout, self.training))
        if self.classes is not None and condition is not None:
            hidden = hidden + self.classes(condition).view(len(condition), *[1] * (hidden.ndim - 2), -1)
        change, gate = hidden.chunk(2, -1)
        return values + change * gate.sigmoid()


class Stage(nn.Module):
    """One resolution on the way down and back, with the lower ones inside."""

    def __init__(self, width: int, layers: int, stages: int, num_classes: int, dropout: float):
        super().__init__()
        back = layers + (stages > 1)
        common = (num_classes, dropout)
        self.down_way = nn.ModuleList(GatedBlock(DownConvolution, width, 0, *common) for _ in range(layers))
        self.right_way = nn.ModuleList(GatedBlock(RightConvolution, width, width, *common) for _ in range(layers))
        self.down_back = nn.ModuleList(GatedBlock(DownConvolution, width, width, *common) for _ in range(back))
        self.right_back = nn.ModuleList(GatedBlock(RightConvolution, width, 2 * width, *common) for _ in range(back))
        self.inner = Stage(width, layers, stages - 1, num_classes, dropout) if stages > 1 else None
        if stages > 1:
            self.down_halve = DownConvolution(width, width, 2)
            self.right_halve = RightConvolution(width, width, 2)
            # Four places for each one.
            self.down_double, self.right_double = nn.Linear(width, 4 * width), nn.Linear(width, 4 * width)

    def forward(self, down: Tensor, right: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both streams ``(B, H, W, width)``, through this stage and the lower ones."""

        def whole(convolution: nn.Module, images: Tensor) -> Tensor:
            result: Tensor = convolution(images)
            return result

        downs, rights = [down], [right]
        for first, second in zip(self.down_way, self.right_way, strict=True):
            down = first(down, None, condition, whole)
            right = second(right, down, condition, whole)
            downs.append(down)
            rights.append(right)
        if self.inner is None:
            downs.pop()
            rights.pop()
        else:
            down, right = self.inner(self.down_halve(down), self.right_halve(right), condition)
            down, right = _double(self.down_double(down)), _double(self.right_double(right))
        for first, second in zip(self.down_back, self.right_back, strict=True):
            down = first(down, downs.pop(), condition, whole)
            right = second(right, torch.cat([down, rights.pop()], -1), condition, whole)
        return down, right


def _double(values: Tensor) -> Tensor:
    """Places ``(B, H, W, 4 F)`` as ``(B, 2 H, 2 W, F)``."""
    count, height, width, _ = values.shape
    parts = values.view(count, height, width, 2, 2, -1).permute(0, 1, 3, 2, 4, 5)
    return parts.reshape(count, 2 * height, 2 * width, -1)


class StreamCursor:
    """Reader that computes the stream from above once a row, and the other once a pixel."""

    def __init__(self, model: PixelCNNPP, count: int, condition: Tensor | None):
        self._model = model
        width = model.image_size[1]
        new = model.output.weight.new_zeros
        self._width, self._place = width, 0
        self._down_input = DownCache(model.down_input, count, width)
        self._right_input = RightCache(model.right_input, count, width)
        self._stage = _StageReader(model.stage, count, width, condition)
        self._row = new(count, width, model.channels + 1)
        self._nothing_above, self._nothing_left = new(count, width, model.width), new(count, model.width)

    def features(self) -> Tensor:
        """Features of the present pixel, ``(B, n_features)``."""
        row, column = divmod(self._place, self._width)
        if column == 0:
            self._right_input.begin_row()
            above = self._nothing_above
            if row:
                self._down_input.push(self._row)
                above = self._down_input.output()
            self._stage.read_row(above)
        left = self._right_input.output() if column else self._nothing_left
        result: Tensor = self._model.output(F.elu(self._stage.read_pixel(left)))
        return result

    def push(self, pixels: Tensor) -> None:
        """Set the present pixel, and go to the next."""
        values = self._model.inputs(pixels)
        self._row[:, self._place % self._width] = values
        self._right_input.push(values)
        self._place += 1


class _StageReader:
    """One resolution of a reader: caches of its convolutions, and the rows that its pixels join with."""

    def __init__(self, stage: Stage, count: int, width: int, condition: Tensor | None):
        self._stage, self._condition = stage, condition
        self._row, self._column = -1, -1
        self._down_caches = {m: DownCache(m, count, width) for m in _own(stage, DownConvolution)}
        self._right_caches = {m: RightCache(m, count, width) for m in _own(stage, RightConvolution)}
        self._joining: list[Tensor] = []
        self._inner = None
        if stage.inner is not None:
            self._inner = _StageReader(stage.inner, count, width // 2, condition)
            features = stage.down_double.in_features
            new = stage.down_double.weight.new_zeros
            # What the lower resolution gave for two rows.
            self._down_doubled = self._right_doubled = new(0)
            self._right_doubled = new(count, 2, width, features)

    def _next_row(self, convolution: nn.Module, values: Tensor) -> Tensor:
        cache = self._down_caches[convolution]
        cache.push(values)
        return cache.output()

    def _next_pixel(self, convolution: nn.Module, values: Tensor) -> Tensor:
        cache = self._right_caches[convolution]
        cache.push(values)
        return cache.output()

    def read_row(self, down: Tensor) -> Tensor:
        """Take the stream from above for the next row, ``(B, W, width)``, through this stage and the lower ones."""
        self._row += 1
        self._column = -1
        for cache in self._right_caches.values():
            cache.begin_row()
        stage, downs = self._stage, [down]
        for block in stage.down_way:
            down = block(down, None, self._condition, self._next_row)
            downs.append(down)
        joining = downs[1:]
        if self._inner is None:
            downs.pop()
        else:
            halve = self._down_caches[stage.down_halve]
            halve.push(down)
            if self._row % 2 == 0:
                inner = self._inner.read_row(halve.output())
                self._down_doubled = _double(stage.down_double(inner)[:, None])
            down = self._down_doubled[:, self._row % 2]
        for block in stage.down_back:
            down = block(down, downs.pop(), self._condition, self._next_row)
            joining.append(down)
        self._joining = joining
        return down

    def read_pixel(self, right: Tensor) -> Tensor:
        """Take the other stream for the next pixel of the row, ``(B, width)``, as `read_row` does."""
        self._column += 1
        column, stage, rights = self._column, self._stage, [right]
        joining = iter(row[:, column] for row in self._joining)
        for block in stage.right_way:
            right = block(right, next(joining), self._condition, self._next_pixel)
            rights.append(right)
        if self._inner is None:
            rights.pop()
        else:
            halve = self._right_caches[stage.right_halve]
            halve.push(right)
            if self._row % 2 == 0 and column % 2 == 0:
                inner = self._inner.read_pixel(halve.output())
                doubled = _double(stage.right_double(inner)[:, None, None])
                self._right_doubled[:, :, column : column + 2] = doubled
            right = self._right_doubled[:, self._row % 2, column]
        for block in stage.right_back:
            right = block(right, torch.cat([next(joining), rights.pop()], -1), self._condition, self._next_pixel)
        return right


def _own(stage: Stage, kind: type[nn.Module]) -> Sequence[Any]:
    """Convolutions of a stage, without those of the lower ones."""
    inner = set(stage.inner.modules()) if stage.inner is not None else set()
    return [module for module in stage.modules() if isinstance(module, kind) and module not in inner]
