"""Result of test-time adaptation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Adaptation:
    """A model's outputs for B images before and after adaptation, and the cost. All tensors are on the CPU.

    Attributes:
        source: ``(B, ...)``, outputs of the model as it was given.
        outputs: ``(B, ...)``, outputs after adaptation: logits, or depths.
        losses: float32 ``(B, steps)``, the objective of each image before each update; NaN where there was none.
        updates: int64 ``(B,)``, updates that were kept for each image.
        adapted: bool ``(B,)``, whether `outputs` are an adapted model's. Where a gate rejected the image, they are
            those of the weights before it: the source's or, online, those that earlier images have left.
        forward_passes: int64 ``(B,)``, evaluations of the denoising network for each image.
        backward_passes: int64 ``(B,)``, evaluations that a gradient was taken of.
        restored: int64 ``(B,)``, updates that were undone because a loss, gradient or output was not finite.
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
        """Predicted classes after adaptation, int64 ``(B,)``, or ``(B, H, W)`` with one for each pixel."""
        return self.outputs.argmax(1)

    @property
    def source_predictions(self) -> Tensor:
        """Predicted classes before adaptation, of the same shape."""
        return self.source.argmax(1)

    @property
    def probabilities(self) -> Tensor:
        """Probabilities of the classes after adaptation, ``(B, K, ...)``."""
        return self.outputs.softmax(1)

    def __getitem__(self, index: int) -> Adaptation:
        """Result of one image, with a first dimension of one.

        Raises:
            IndexError: If there is no such image.
        """
        place = range(len(self))[index]
        return Adaptation(*(getattr(self, part.name)[place : place + 1] for part in fields(self)))

    def __iter__(self) -> Iterator[Adaptation]:
        return (self[place] for place in range(len(self)))


def concatenate(parts: Sequence[Adaptation]) -> Adaptation:
    """Concatenate results in their order."""
    return Adaptation(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(Adaptation)))
