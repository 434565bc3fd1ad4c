"""Weights of the error at each noise level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from vl_diffusion.models.schedule import NoiseSchedule

WeightingName = Literal["uniform", "exponential", "snr", "min_snr"]
Weighting = WeightingName | Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""A name, or a function of time in [0, 1], signal level and noise level, each ``(n,)``, that returns weights ``(n,)``.

- ``"uniform"``: 1, the Diffusion Classifier's choice in epsilon-space (Li et al., 2023).
- ``"exponential"``: ``exp(-7 t)``, the choice of Clark & Jaini (2023) for the error of the clean image; use it with
  ``error_space="sample"``.
- ``"snr"``: ``alpha^2 / sigma^2``, which turns an error of the image into one of the noise.
- ``"min_snr"``: the same, clipped at 5 (Hang et al., 2023).
"""


def draw_weights(weighting: Weighting, schedule: NoiseSchedule, steps: np.ndarray) -> np.ndarray:
    """Weights of draws at these steps, float64 ``(n,)``, scaled to a mean of one.

    Raises:
        ValueError: If the weighting is unknown, or if its weights are not finite, negative, or all zero.
    """
    alpha, sigma = schedule.alpha[steps], schedule.sigma[steps]
    time = (steps + 0.5) / len(schedule)
    if callable(weighting):
        weights = np.asarray(weighting(time, alpha, sigma), np.float64)
    elif weighting == "uniform":
        weights = np.ones(len(steps))
    elif weighting == "exponential":
        weights = np.exp(-7 * time)
    elif weighting in ("snr", "min_snr"):
        ratio = (alpha / np.maximum(sigma, 1e-12)) ** 2
        weights = ratio if weighting == "snr" else np.minimum(ratio, 5)
    else:
        names = ", ".join(get_args(WeightingName))
        raise ValueError(f"weighting must be a function or one of {names}, got {weighting!r}")
    if weights.shape != steps.shape or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(
            f"weighting must give {len(steps)} finite weights, none negative and some positive, got {weights!r}"
        )
    scaled: np.ndarray = weights / weights.mean()
    return scaled
