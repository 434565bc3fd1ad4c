"""Building blocks of several corruptions: motion along a line, enlargement, and plasma fractals."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vl_core._extras import import_extra

FloatImage = npt.NDArray[np.float64]
"""``(C, H, W)``, black 0 and white 1."""


def gray(image: FloatImage) -> FloatImage:
    """Luminance (ITU-R BT.601) of ``(C, H, W)``, as ``(1, H, W)``."""
    if len(image) == 1:
        return image
    luminance: FloatImage = np.tensordot((0.299, 0.587, 0.114), image, 1)[None]
    return luminance


def smear(image: FloatImage, radius: float, sigma: float, angle: float) -> FloatImage:
    """Weighted mean of the image moved by 0 to `radius` pixels along a line, in steps of at most one pixel.

    The weights are half a Gaussian, ``exp(-t^2 / (2 sigma^2))``: what moves is sharp where it started and fades behind.
    Positions between pixels are interpolated linearly, and the border is repeated outwards.

    Args:
        image: ``(C, H, W)``.
        radius: Length of the line, in pixels.
        sigma: Standard deviation of the weights, in pixels.
        angle: Direction of the movement in radians: 0 to the right, pi / 2 downwards.
    """
    ndimage = import_extra("scipy.ndimage", "corruptions")
    steps = np.linspace(0, radius, math.ceil(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    moved = np.zeros_like(image)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        by = (0, step * math.sin(angle), step * math.cos(angle))
        moved += weight * ndimage.shift(image, by, order=1, mode="nearest")
    return moved


def enlarge(image: FloatImage, factor: float, *, order: int = 1) -> FloatImage:
    """``(C, H, W)`` enlarged about its center and cut to its size; linear between pixels, or with order 0 in blocks."""
    ndimage = import_extra("scipy.ndimage", "corruptions")
    center = (np.array(image.shape) - 1) / 2
    scale = np.array([1, 1 / factor, 1 / factor])
    enlarged: FloatImage = ndimage.affine_transform(
        image, scale, center * (1 - scale), order=order, mode="nearest", output_shape=image.shape
    )
    return enlarged


def plasma(height: int, width: int, decay: float, rng: np.random.Generator) -> FloatImage:
    """A cloud ``(height, width)`` from 0 to 1, by midpoint displacement ("diamond-square") on a torus.

    Args:
        height: In pixels.
        width: In pixels.
        decay: By how much the random displacement shrinks when the grid becomes twice as fine: 1 is rough, 9 smooth.
        rng: Where the displacements come from; a square of the next power of two is filled, whatever the decay.
    """
    size = 1 << (max(height, width) - 1).bit_length()
    cloud = np.zeros((size, size))
    spread, step = 1.0, size
    while step > 1:
        half, cells = step // 2, size // step
        wobble = spread * rng.uniform(-1, 1, (3, cells, cells))
        corner = cloud[::step, ::step]
        right, below = np.roll(corner, -1, 1), np.roll(corner, -1, 0)
        center = (corner + right + below + np.roll(right, -1, 0)) / 4 + wobble[0]
        cloud[half::step, half::step] = center
        cloud[::step, half::step] = (corner + right + center + np.roll(center, 1, 0)) / 4 + wobble[1]
        cloud[half::step, ::step] = (corner + below + center + np.roll(center, 1, 1)) / 4 + wobble[2]
        spread, step = spread / decay, half
    cloud -= cloud.min()
    cut: FloatImage = cloud[:height, :width] / cloud.max()
    return cut
