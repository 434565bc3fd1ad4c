"""Images unlike those that a model was trained on, told by the distance to the nearest of some training images.

A classifier of ten kinds of clothing calls a cat one of them. The criterion is the oldest one for small images: the
root mean square difference to the nearest reference image, in the pixels that the model sees. An image is unfamiliar if
it is farther from all references than 99 % of the references are from all others. `experiments/fashion/unfamiliar.py`
measures how often it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from vl_core.data import fit_image

from vl_diffusion.models.images import to_tensor

QUANTILE = 0.99
"""Share of the references that count as familiar."""


class Familiarity:
    """Compares images with references.

    Args:
        references: Training images of the model: PIL images, arrays or tensors; at least two.
        size: Width and height at which the model sees images.
        channels: Channels that it sees.

    Raises:
        ValueError: If there are fewer than two references.
    """

    def __init__(self, references: Sequence[Any], size: int, channels: int) -> None:
        if len(references) < 2:
            raise ValueError(f"references must be at least 2 images, got {len(references)}")
        self.size, self.channels = size, channels
        self._references = self._pixels(references)
        apart = self._distances(self._references)
        apart.fill_diagonal_(torch.inf)
        self.limit = float(apart.min(1).values.quantile(QUANTILE))
        """Distance from which on an image is unfamiliar, as a root mean square of differences of values in 0..1."""

    def distance(self, image: Any) -> float:
        """Root mean square difference of an image to the nearest reference, values in 0..1."""
        return float(self._distances(self._pixels([image])).min())

    def knows(self, image: Any) -> bool:
        """True if an image is as near to the references as they are to each other."""
        return self.distance(image) <= self.limit

    def _pixels(self, images: Sequence[Any]) -> Tensor:
        return torch.stack([fit_image(to_tensor(image), self.size, self.channels).flatten() for image in images])

    def _distances(self, pixels_nd: Tensor) -> Tensor:
        apart: Tensor = torch.cdist(pixels_nd, self._references)
        return apart.div(pixels_nd.shape[1] ** 0.5)
