"""Weather: snow, frost on the lens, fog, and too bright a day."""

from __future__ import annotations

import math

import numpy as np

from vl_core.corruptions._fields import FloatImage, enlarge, gray, plasma, smear
from vl_core.corruptions._frost_pattern import frost_pattern
from vl_core.corruptions._strengths import Strengths, Table

SNOW_MEAN: Table = {
    32: (0.1, 0.1, 0.15, 0.25, 0.3),
    64: (0.1, 0.1, 0.15, 0.25, 0.3),
    224: (0.1, 0.18, 0.55, 0.55, 0.55),  # published: 0.2 at severity 2
}
"""Mean of the Gaussian noise of which flakes are made."""

# Published is 0.3 where flakes are larger than a pixel, of noise that is enlarged linearly, which averages neighbors:
# in blocks, 0.2 lets as much of it pass the threshold, whatever the size.
SNOW_DEVIATION = 0.2
"""Its standard deviation."""

SNOW_THRESHOLD: Table = {
    32: (0.6, 0.5, 0.55, 0.6, 0.65),
    64: (0.6, 0.5, 0.55, 0.6, 0.65),
    224: (0.5, 0.5, 0.9, 0.85, 0.85),
}
"""Noise below it is no flake."""

SNOW_FLAKE: Table = {
    32: (1, 1, 1.75, 2.25, 1.25),
    64: (1, 1, 1.75, 2.25, 1.25),
    224: (3, 2, 4, 4.5, 2.5),
}
"""Size of a flake, in pixels."""

SNOW_FALL: Table = {
    32: (8, 10, 10, 12, 14),
    64: (8, 10, 10, 12, 14),
    224: (10, 12, 12, 12, 12),
}
"""Distance that flakes fall during the exposure, in pixels."""

SNOW_FALL_SIGMA: Table = {
    32: (3, 4, 4, 6, 12),
    64: (3, 4, 4, 6, 12),
    224: (4, 4, 8, 8, 12),
}
"""Standard deviation of the weights along the fall, in pixels."""

SNOW_CLEAR: Table = {
    32: (0.95, 0.9, 0.9, 0.85, 0.8),
    64: (0.8, 0.8, 0.7, 0.65, 0.6),
    224: (0.8, 0.7, 0.7, 0.65, 0.55),
}
"""Weight of the image against its whitened copy."""

# Ours, begun and ended near the published rows (1 to 0.6, and 0.2 to 0.75): on a bright image those let what the
# image loses and what the frost adds cancel more at severity 3 than at 2.
FROST_IMAGE: Table = {
    32: (1, 0.95, 0.9, 0.85, 0.8),
    64: (1, 0.95, 0.9, 0.85, 0.8),
    224: (1, 0.9, 0.8, 0.7, 0.6),
}
"""Weight of the image behind the frost."""

FROST_ICE: Table = {
    32: (0.2, 0.3, 0.4, 0.5, 0.6),
    64: (0.3, 0.4, 0.5, 0.6, 0.7),
    224: (0.4, 0.55, 0.65, 0.75, 0.85),
}
"""Weight of the frost."""

FOG_DENSITY: Table = {
    32: (0.2, 0.5, 0.75, 1, 1.5),
    64: (0.4, 0.7, 1, 1.5, 2),
    224: (1.5, 2, 2.5, 2.7, 3),  # published: 2.5 at severity 4 as well
}
"""Light that the thickest fog adds."""

FOG_DECAY: Table = {
    32: (9, 9, 6.25, 4, 3.0625),
    64: (9, 9, 6.25, 4, 3.0625),
    224: (4, 4, 2.89, 2.25, 1.96),
}
"""Decay of the fog's cloud, see `plasma`: the published numbers squared, for they shrink a factor that counts twice."""

LIGHT: Table = {
    32: (0.05, 0.1, 0.15, 0.2, 0.3),
    64: (0.1, 0.2, 0.3, 0.4, 0.5),
    224: (0.1, 0.2, 0.3, 0.4, 0.5),
}
"""Added to the value channel of HSV."""


def snow(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """Flakes fall in front of an image that has become whiter.

    Flakes are the tops of Gaussian noise, enlarged and smeared downwards, and once more the same upside down. The
    image ``x`` of luminance ``g`` becomes ``w x + (1 - w) max(x, 1.5 g + 0.5)``.
    """
    angle = rng.uniform(math.pi / 4, 3 * math.pi / 4)
    noise = rng.standard_normal((1, *image.shape[1:]))
    noise = at.value(SNOW_MEAN) + SNOW_DEVIATION * noise
    noise = enlarge(noise, max(1, at.length(SNOW_FLAKE)), order=0)
    flakes = np.where(noise < at.value(SNOW_THRESHOLD), 0, np.clip(noise, 0, 1))
    flakes = smear(flakes, at.length(SNOW_FALL), at.length(SNOW_FALL_SIGMA), angle)
    clear = at.value(SNOW_CLEAR)
    whitened = np.maximum(image, 1.5 * gray(image) + 0.5)
    return clear * image + (1 - clear) * whitened + flakes + flakes[:, ::-1, ::-1]


def frost(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """``a x + b f``, where ``f`` is frost-like: crystals that are drawn, and not the paper's photographs of frost."""
    channels, height, width = image.shape
    ice = frost_pattern(channels, height, width, rng)
    return at.value(FROST_IMAGE) * image + at.value(FROST_ICE) * ice


def fog(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """``(x + c p) m / (m + c)``: a cloud ``p`` adds light, and no value exceeds the image's largest, ``m``."""
    density = at.value(FOG_DENSITY)
    _, height, width = image.shape
    cloud = plasma(height, width, at.value(FOG_DECAY), rng)
    brightest = float(image.max())
    return (image + density * cloud) * brightest / (brightest + density)


def brightness(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """The value of hue, saturation and value grows, up to 1; the other two stay.

    The value is the largest channel ``v``, and colors scale with it: ``x min(v + c, 1) / v``, and gray for black.
    """
    value = image.max(0, keepdims=True)
    brighter: FloatImage = np.minimum(value + at.value(LIGHT), 1)
    hue: FloatImage = np.where(value > 0, image / np.where(value > 0, value, 1), 1)
    return hue * brighter
