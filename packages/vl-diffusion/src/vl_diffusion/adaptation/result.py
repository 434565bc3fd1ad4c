"""What came of adapting to some images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Adaptation:
    """A model's outputs for B images before and after, and how it got there. Tensors lie on the CPU.

    Attributes:
        source: ``(B, ...)``, the outputs of the model as it was given.
        outputs: ``(B, ...)``, its outputs after adaptation: logits, or depths.
        losses: float32 ``(B, steps)``, the objective of each image before each update; NaN where there was none.
        updates: int64 ``(B,)``, updates that each image took part in.
        adapted: bool ``(B,)``, whether the model was adapted to the image; where a gate turned it away, `outputs` are
            those of the weights that it came to: the source's, or those that other images have left.
        forward_passes: int64 ``(B,)``, evaluations of the denoising network that each image cost.
        backward_passes: int64 ``(B,)``, evaluations that a gradient was taken of.
        restored: int64 ``(B,)``, how often weights went back to the last good ones, because a loss or gradient was not
            finite.
    """

    source: Tensor
    outputs: Tensor
    losses: Tensor
    updates: Tensor
    adapted: Tensor
    forward_passes: Tensor
    backward_passes: Tensor
    restored: Tensor

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def predictions(self) -> Tensor:
        """Classes after adaptation, int64 ``(B,)``, or a class a pixel ``(B, H, W)``."""
        return self.outputs.argmax(1)

    @property
    def source_predictions(self) -> Tensor:
        """Classes before, likewise."""
        return self.source.argmax(1)

    @property
    def probabilities(self) -> Tensor:
        """Of the classes after adaptation, ``(B, K, ...)``."""
        return self.outputs.softmax(1)

    def __getitem__(self, index: int) -> Adaptation:
        """One image's part, still with a first dimension of one.

        Raises:
            IndexError: If there is no such image.
        """
        place = range(len(self))[index]
        return Adaptation(*(getattr(self, part.name)[place : place + 1] for part in fields(self)))

    def __iter__(self) -> Iterator[Adaptation]:
        return (self[place] for place in range(len(self)))


def concatenate(parts: Sequence[Adaptation]) -> Adaptation:
    """Several results as one, in their order."""
    return Adaptation(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(Adaptation)))
