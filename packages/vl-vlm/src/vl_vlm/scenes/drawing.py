"""`draw_scene`: an anti-aliased image of a scene, of any size."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vl_vlm.scenes.scene import Scene, SceneObject
from vl_vlm.scenes.shapes import EXTENT, PATTERNS, SHAPES
from vl_vlm.scenes.vocabulary import COLORS

LEAST_SIZE = 16
"""Smallest width of an image, in pixels, in which shapes of small objects differ."""

_POINTS = 192  # along a side, at least
_SECOND = 0.25  # of the color of an object that has a pattern


def draw_scene(scene: Scene, size: int = 32) -> Image.Image:
    """Draw a scene.

    A pixel is the mean of the colors at a regular grid of at least 3 x 3 points in it. The same scene has the same
    pixels on every platform.

    Args:
        scene: The scene.
        size: Width and height in pixels, at least 16; small patterns are seen from about 48 on.

    Returns:
        RGB image of ``size`` by ``size`` pixels.

    Raises:
        ValueError: If the size is too small.

    Example:
        >>> from vl_vlm import Scene, SceneObject
        >>> scene = Scene("attributes", (SceneObject("red", "circle", x=0.5, y=0.5, radius=0.2),))
        >>> draw_scene(scene, 64).getpixel((32, 32))
        (212, 34, 38)
    """
    check_size(size)
    points = max(3, ceil(_POINTS / size))
    pixels = _background(scene, size)
    for item in scene.objects:
        _draw_object(pixels, item, size, points)
    return Image.fromarray(np.floor(np.clip(pixels, 0, 255) + 0.5).astype(np.uint8))


def check_size(size: int) -> None:
    """Check the width of images.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is too small.
    """
    if not isinstance(size, int | np.integer):
        raise TypeError(f"size must be a whole number of pixels, got {size!r:.40}")
    if size < LEAST_SIZE:
        raise ValueError(f"size must be at least {LEAST_SIZE} pixels, got {size}; shapes cannot be told apart")


def _background(scene: Scene, size: int) -> NDArray[np.float64]:
    middles = (np.arange(size) + 0.5) / size - 0.5
    slope = scene.slope[0] * middles[None, :] + scene.slope[1] * middles[:, None]
    found: NDArray[np.float64] = slope[..., None] + np.array(scene.background)
    return found


def _draw_object(pixels: NDArray[np.float64], item: SceneObject, size: int, points: int) -> None:
    """Blend an object into ``pixels`` ``(size, size, 3)``."""
    reach = EXTENT * item.radius
    spans = [
        (max(floor((center - reach) * size), 0), min(ceil((center + reach) * size), size))
        for center in (item.x, item.y)
    ]
    right, up = (
        sign * ((np.arange(start * points, stop * points) + 0.5) / (size * points) - center) / item.radius
        for (start, stop), center, sign in zip(spans, (item.x, item.y), (1, -1), strict=True)
    )
    # The sine and the cosine from the tangent of half the angle, which needs no library of functions.
    squared = item.turn * item.turn
    cosine, sine = (1 - squared) / (1 + squared), 2 * item.turn / (1 + squared)
    u = cosine * right[None, :] + sine * up[:, None]
    v = cosine * up[:, None] - sine * right[None, :]
    inside = SHAPES[item.shape](u, v)
    second = inside & PATTERNS[item.pattern](u, v) if item.pattern else np.zeros_like(inside)
    first_share, second_share = _shares(inside & ~second, points), _shares(second, points)
    color = np.clip(np.array(COLORS[item.color]) + np.array(item.tint), 0, 255)
    (left, end), (top, bottom) = spans
    below = pixels[top:bottom, left:end]
    below *= 1 - first_share - second_share
    below += (first_share + _SECOND * second_share) * color


def _shares(inside: NDArray[np.bool_], points: int) -> NDArray[np.float64]:
    """Share of the points of each pixel that are inside, ``(h, w, 1)``."""
    height, width = inside.shape[0] // points, inside.shape[1] // points
    counts = inside.reshape(height, points, width, points).sum((1, 3))
    shares: NDArray[np.float64] = counts[..., None] / (points * points)
    return shares
