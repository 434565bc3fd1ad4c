"""The signature of encoders of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class ImageEncoder(Protocol):
    """Turns images into features whose cosine says how alike they are; frozen, and the same in every call."""

    @property
    def name(self) -> str:
        """Name of the encoder, as the run's settings keep it."""

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Features ``(n, d)`` of images of any size and mode, each of unit length, whatever else is in the batch."""
