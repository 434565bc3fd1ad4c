"""The names of corruptions and shifts, and the functions of the corruptions; none of this needs torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vl_core.corruptions import _blur, _digital, _noise, _weather
from vl_core.corruptions._fields import FloatImage
from vl_core.corruptions._strengths import Strengths

Corruption = Callable[[FloatImage, Strengths, np.random.Generator], FloatImage]

# In the paper's groups and order. The place is part of the key of the random numbers, so it is fixed.
FUNCTIONS: tuple[Corruption, ...] = (
    _noise.gaussian_noise,
    _noise.shot_noise,
    _noise.impulse_noise,
    _blur.defocus_blur,
    _blur.glass_blur,
    _blur.motion_blur,
    _blur.zoom_blur,
    _weather.snow,
    _weather.frost,
    _weather.fog,
    _weather.brightness,
    _digital.contrast,
    _digital.elastic_transform,
    _digital.pixelate,
    _digital.jpeg_compression,
)
CORRUPTIONS: tuple[str, ...] = tuple(function.__name__ for function in FUNCTIONS)
"""Names of the corruptions: three of noise, four of blur, four of weather, four of digital processing."""

SEVERITIES: tuple[int, ...] = (1, 2, 3, 4, 5)
"""Severities, from weak to strong."""

SHIFT_NAMES: tuple[str, ...] = (
    "gaussian noise",
    "gaussian blur",
    "contrast",
    "brightness",
    "rotation",
    "translation",
    "posterize",
    "pixelate",
    "occlusion",
)
"""Names of the shifts, known without torch; `SHIFTS` has their functions in the same order."""
