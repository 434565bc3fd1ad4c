"""Frost, drawn: ferns of ice that grow from seeds until they meet, thick in some places and thin in others."""

from __future__ import annotations

import math

import numpy as np

from vl_core.corruptions._fields import FloatImage, plasma

_FERNS = 14
_BARB = 1 / 16  # distance between two barbs of a fern, as a share of the side
_FEWEST_PIXELS = 3  # a finer pattern than this would alias
_BEND = 0.22  # how far ferns are bent, as a share of the side
_TINT = (0.84, 0.93, 1.0)  # ice is bluish


def frost_pattern(channels: int, height: int, width: int, rng: np.random.Generator) -> FloatImage:
    """A layer of frost-like crystals ``(channels, height, width)`` in [0, 1]; bluish where there are three channels.

    Each pixel belongs to the fern whose seed is nearest. A fern has a spine in a direction of its own, and on both
    sides barbs that leave it at 60 degrees, the angle at which ice branches. Clouds bend the ferns and thin the ice.
    """
    side = min(height, width)
    seeds = rng.random((_FERNS, 2)) * (height, width)
    angles = rng.uniform(0, 2 * math.pi, _FERNS)
    periods = np.maximum(_BARB * side * rng.uniform(0.7, 1.4, _FERNS), _FEWEST_PIXELS)
    bends = np.stack([plasma(height, width, 3, rng), plasma(height, width, 3, rng)]) - 0.5
    places = np.indices((height, width)) + _BEND * side * bends
    offsets = places - seeds[:, :, None, None]
    nearest = (offsets**2).sum(1).argmin(0)
    down, right = np.take_along_axis(offsets, nearest[None, None], 0)[0]
    sine, cosine, period = np.sin(angles)[nearest], np.cos(angles)[nearest], periods[nearest]
    along, across = cosine * right + sine * down, np.abs(cosine * down - sine * right)
    barbs = 0.5 + 0.5 * np.cos(2 * math.pi * (along - across / math.tan(math.pi / 3)) / period)
    spine = np.exp(-((across / (0.4 * period)) ** 2))
    broken = plasma(height, width, 1.3, rng)
    thickness = plasma(height, width, 2, rng)
    crystals = np.maximum(barbs**2 * np.clip(2.5 * broken - 0.5, 0, 1), spine)
    ice = np.clip(1.6 * thickness - 0.2, 0, 1) * (0.25 + 0.75 * crystals)
    tint = np.array(_TINT) if channels == 3 else np.ones(channels)
    pattern: FloatImage = tint[:, None, None] * ice
    return pattern
