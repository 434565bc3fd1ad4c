"""Noise of an image sensor: too little light, too few photons, broken pixels.

Every function of the four groups takes an image ``(C, H, W)`` in [0, 1], its strengths and a generator; it returns
the corrupted image, which may leave [0, 1] (`corrupt` clips it). The generator starts in the same state at every
severity, and the number of draws does not depend on the severity, so the versions of an image differ in strength alone.
"""

from __future__ import annotations

import numpy as np

from vl_core.corruptions._fields import FloatImage
from vl_core.corruptions._strengths import Strengths, Table

DEVIATION: Table = {
    32: (0.04, 0.06, 0.08, 0.09, 0.10),
    64: (0.04, 0.08, 0.12, 0.15, 0.18),
    224: (0.08, 0.12, 0.18, 0.26, 0.38),
}
"""Standard deviation of Gaussian noise; white is 1."""

PHOTONS: Table = {
    32: (500, 250, 100, 75, 50),
    64: (250, 100, 50, 30, 15),
    224: (60, 25, 12, 5, 3),
}
"""Mean number of photons that make white."""

BROKEN: Table = {
    32: (0.01, 0.02, 0.03, 0.05, 0.07),
    64: (0.01, 0.02, 0.05, 0.08, 0.14),
    224: (0.03, 0.06, 0.09, 0.17, 0.27),
}
"""Share of values that are lost."""


def gaussian_noise(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """``x + sigma n`` with ``n`` standard normal, for each value of each channel."""
    return image + at.value(DEVIATION) * rng.standard_normal(image.shape)


def shot_noise(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """``Poisson(c x) / c``: mean ``x``, variance ``x / c``."""
    photons = at.value(PHOTONS)
    return rng.poisson(photons * image) / photons


def impulse_noise(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """A share of the values, channel by channel, is replaced by 0 ("pepper") or 1 ("salt") with equal chance."""
    lost = rng.random(image.shape) < at.value(BROKEN)
    return np.where(lost, rng.random(image.shape) < 0.5, image)
