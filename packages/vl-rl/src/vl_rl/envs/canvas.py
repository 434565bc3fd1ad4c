"""A small drawing board for environments in the plane, which need no graphics library."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Canvas"]

Color = tuple[int, int, int]


class Canvas:
    """A white square image of a square of the plane around the origin.

    Args:
        reach: Largest coordinate that is shown.
        pixels: Width and height of the image.

    Example:
        >>> canvas = Canvas(1.0)
        >>> canvas.dots([(0.0, 0.5)], radius=0.1, color=(200, 0, 0))
        >>> canvas.image.shape
        (256, 256, 3)
    """

    def __init__(self, reach: float, *, pixels: int = 256):
        self.image: NDArray[np.uint8] = np.full((pixels, pixels, 3), 255, dtype=np.uint8)
        steps = (np.arange(pixels) + 0.5) / pixels * 2 - 1
        self._x, self._y = np.meshgrid(reach * steps, -reach * steps)

    def dots(self, points: ArrayLike, *, radius: float, color: Color) -> None:
        """Draw disks around points ``(N, 2)``; what is drawn later covers what is there."""
        for x, y in np.asarray(points, dtype=np.float64).reshape(-1, 2):
            self.image[(self._x - x) ** 2 + (self._y - y) ** 2 <= radius**2] = color
