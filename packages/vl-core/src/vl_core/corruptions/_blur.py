"""Blur: out of focus, behind frosted glass, by a moving camera, by a camera that comes nearer."""

from __future__ import annotations

import math

import numpy as np

from vl_core._extras import import_extra
from vl_core.corruptions._fields import FloatImage, enlarge, smear
from vl_core.corruptions._strengths import Strengths, Table

# Up to severity 3 at 32 px, and at severity 1 at 64 px, the published disc is a pixel which a Gaussian of 0.4 to 0.6 px
# softens: here stands the disc of the same variance. Where the published disc is larger, its soft edge is left out.
DISC_RADIUS: Table = {
    32: (0.62, 0.75, 0.95, 1.05, 1.5),
    64: (0.95, 1, 1.5, 2.5, 3),
    224: (3, 4, 6, 8, 10),
}
"""Radius in pixels of the disc into which a lens out of focus spreads a point."""

# Ours. The published reaches (1 to 4) and numbers of rounds (1 to 3) rise and fall along their rows, and at 32 px they
# begin with an exchange of all neighbors, the worst there is. A reach below 1.5 exchanges some and leaves the others.
GLASS_REACH: Table = {
    32: (0.55, 0.65, 0.8, 1.3, 2),
    64: (0.6, 0.8, 1.3, 2, 3),
    224: (1, 1.6, 2.2, 3, 4.5),
}
"""Largest displacement of a pixel in each direction, in pixels, before rounding."""

GLASS_SOFTNESS: Table = {
    32: (0.2, 0.25, 0.3, 0.35, 0.4),
    64: (0.4, 0.5, 0.6, 0.7, 0.9),
    224: (0.7, 0.9, 1, 1.1, 1.5),
}
"""Standard deviation in pixels of the Gaussian before and after the exchange.

As published from 64 px on, but for the first, 0.1; at 32 px the published row (0.05 to 0.4) rises and falls.
"""

MOTION_RADIUS: Table = {
    32: (6, 6, 6, 8, 9),
    64: (10, 10, 10, 10, 12),
    224: (10, 15, 15, 15, 20),
}
"""Length of the movement, in pixels."""

MOTION_SIGMA: Table = {
    32: (1, 1.5, 2, 2.2, 2.5),  # published: 2 at severity 4 as well
    64: (1, 1.5, 2, 2.5, 3),
    224: (3, 5, 8, 12, 15),
}
"""Standard deviation of the weights along it, in pixels."""

ZOOM: Table = {
    32: (0.05, 0.10, 0.15, 0.20, 0.25),
    64: (0.05, 0.10, 0.15, 0.20, 0.25),
    224: (0.10, 0.15, 0.20, 0.24, 0.30),
}
"""By how much of its size an image grows while it is taken."""

_ZOOM_STEP = 0.01


def disc(radius: float) -> FloatImage:
    """Weights ``(n, n)`` with sum 1: equal on a disc, and down to nothing within a pixel at its edge."""
    reach = math.floor(radius + 0.5)
    across = np.arange(-reach, reach + 1)
    inside = np.clip(radius + 0.5 - np.hypot(across[:, None], across), 0, 1)
    weights: FloatImage = inside / inside.sum()
    return weights


def defocus_blur(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """Every point becomes a disc."""
    ndimage = import_extra("scipy.ndimage", "corruptions")
    blurred: FloatImage = ndimage.convolve(image, disc(at.neighborhood(DISC_RADIUS))[None], mode="mirror")
    return blurred


def glass_blur(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """Pixels change places with near ones, one after the other, between two Gaussian blurs."""
    ndimage = import_extra("scipy.ndimage", "corruptions")
    softness = at.length(GLASS_SOFTNESS)
    sigma = (0, softness, softness)
    reach = at.neighborhood(GLASS_REACH)
    height, width = image.shape[1:]
    down, right = np.rint(reach * rng.uniform(-1, 1, (2, height, width))).astype(int)
    y, x = np.indices((height, width))
    here = y * width + x
    there = np.clip(y + down, 0, height - 1) * width + np.clip(x + right, 0, width - 1)
    order = list(range(height * width))
    # An exchange sees those before it, so this is a loop; over plain integers it takes milliseconds.
    for a, b in zip(here.ravel().tolist(), there.ravel().tolist(), strict=True):
        order[a], order[b] = order[b], order[a]
    blurred = ndimage.gaussian_filter(image, sigma, mode="nearest")
    exchanged = blurred.reshape(len(image), -1)[:, order].reshape(image.shape)
    result: FloatImage = ndimage.gaussian_filter(exchanged, sigma, mode="nearest")
    return result


def motion_blur(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """The image moves along a line, at most 45 degrees from the horizontal."""
    angle = rng.uniform(-math.pi / 4, math.pi / 4)
    return smear(image, at.length(MOTION_RADIUS), at.length(MOTION_SIGMA), angle)


def zoom_blur(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """Mean of the image at sizes from its own to the largest, a hundredth apart; its center stays where it is."""
    most = at.value(ZOOM)
    factors = np.linspace(1, 1 + most, round(most / _ZOOM_STEP) + 1)
    mean: FloatImage = np.mean([enlarge(image, factor) for factor in factors], 0)
    return mean
