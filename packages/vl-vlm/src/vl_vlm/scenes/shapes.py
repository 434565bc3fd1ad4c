"""Shapes and patterns as functions of coordinates: True inside.

Coordinates ``u`` to the right and ``v`` upwards have their origin in the center of the object, and its radius as unit.
Every shape lies within a circle of radius 1.1. Only sums, products and comparisons occur, which every processor rounds
alike, so that the same scene has the same pixels everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Coordinates: TypeAlias = NDArray[np.float64]
Inside: TypeAlias = NDArray[np.bool_]

EXTENT = 1.1
"""Radius of a circle that contains every shape."""

# Unit vectors at -90, -18, 54, 126 and 198 degrees, across the five lines of a pentagram whose tip is up.
_LINES = (
    (0.0, -1.0),
    (0.9510565162951535, -0.3090169943749474),
    (0.5877852522924731, 0.8090169943749475),
    (-0.5877852522924731, 0.8090169943749475),
    (-0.9510565162951535, -0.3090169943749474),
)
_LINE_DISTANCE = 0.3090169943749474  # of the lines of a pentagram with tips at distance 1


def _circle(u: Coordinates, v: Coordinates) -> Any:
    return u * u + v * v <= 0.9 * 0.9


def _triangle(u: Coordinates, v: Coordinates) -> Any:
    return (v >= -0.62) & (np.abs(u) * 1.67 <= (1.05 - v) * 0.88)


def _cross(u: Coordinates, v: Coordinates) -> Any:
    thin, long = np.minimum(np.abs(u), np.abs(v)), np.maximum(np.abs(u), np.abs(v))
    return (thin <= 0.3) & (long <= 0.95)


def _square(u: Coordinates, v: Coordinates) -> Any:
    return np.maximum(np.abs(u), np.abs(v)) <= 0.74


def _star(u: Coordinates, v: Coordinates) -> Any:
    # A pentagram is what lies on the inner side of at least four of its lines.
    sides = [u * a + v * b <= EXTENT * _LINE_DISTANCE for a, b in _LINES]
    return sum(side.astype(np.int64) for side in sides) >= 4


def _ring(u: Coordinates, v: Coordinates) -> Any:
    squared = u * u + v * v
    return (squared <= 0.95 * 0.95) & (squared >= 0.5 * 0.5)


def _diamond(u: Coordinates, v: Coordinates) -> Any:
    return np.abs(u) / 0.66 + np.abs(v) / 1.05 <= 1


def _heart(u: Coordinates, v: Coordinates) -> Any:
    a, b = 1.25 * u, 1.25 * v + 0.1
    body = a * a + b * b - 1
    return body * body * body <= a * a * b * b * b


def _moon(u: Coordinates, v: Coordinates) -> Any:
    u = u + 0.15
    cut = u - 0.57
    return (u * u + v * v <= 0.95 * 0.95) & (cut * cut + v * v >= 0.76 * 0.76)


def _striped(u: Coordinates, v: Coordinates) -> Any:
    return v / 0.8 + 0.25 - np.floor(v / 0.8 + 0.25) < 0.5


def _checkered(u: Coordinates, v: Coordinates) -> Any:
    return (np.floor(u / 0.5) + np.floor(v / 0.5)) % 2 == 0


def _dotted(u: Coordinates, v: Coordinates) -> Any:
    a, b = (x / 0.7 + 0.5 - np.floor(x / 0.7 + 0.5) - 0.5 for x in (u, v))
    return a * a + b * b <= 0.32 * 0.32


SHAPES: dict[str, Callable[[Coordinates, Coordinates], Inside]] = {
    "circle": _circle,
    "triangle": _triangle,
    "cross": _cross,
    "square": _square,
    "star": _star,
    "ring": _ring,
    "diamond": _diamond,
    "heart": _heart,
    "moon": _moon,
}
"""Inside of each shape."""

PATTERNS: dict[str, Callable[[Coordinates, Coordinates], Inside]] = {
    "striped": _striped,
    "checkered": _checkered,
    "dotted": _dotted,
}
"""Patterns by name, True where one has its second color."""
