"""Images held in memory as one array."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image


class ArrayImages:
    """Reads images out of a uint8 array ``(n, H, W)``, ``(n, H, W, 1)`` or ``(n, H, W, 3)``."""

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        self.pixels = pixels[..., 0] if pixels.ndim == 4 and pixels.shape[3] == 1 else pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])
