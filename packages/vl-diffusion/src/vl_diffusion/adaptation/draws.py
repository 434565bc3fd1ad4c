"""Where in the schedule, and with which noise, images are looked at in an update."""

from __future__ import annotations

from typing import Literal

import numpy as np

from vl_diffusion.adaptation.evaluator import Draws
from vl_diffusion.models.schedule import NoiseSchedule

Placement = Literal["even", "random"]
"""One draw in each of n equal shares of the schedule, moved on from update to update; or uniformly at random, anew for
each image and update."""

# Multiples of it, modulo 1, fill the unit interval evenly however many there are.
_GOLDEN = (5**0.5 - 1) / 2


def place_draws(
    schedule: NoiseSchedule,
    count: int,
    *,
    update: int,
    time_range: tuple[float, float] = (0.0, 1.0),
    placement: Placement = "even",
    image_ids: np.ndarray,
    seed: int = 0,
) -> Draws:
    """The draws of one update; every update has noise of its own.

    Args:
        schedule: The model's.
        count: Draws of an image.
        update: Which update, from 0.
        time_range: The part of the schedule that is used, from 0 (no noise) to 1.
        placement: How draws are placed within it.
        image_ids: int64 ``(B,)``; of effect on random places alone.
        seed: Likewise.
    """
    first, last = time_range
    if placement == "even":
        places = (np.arange(count) + (0.5 + update * _GOLDEN) % 1) / count
    else:
        places = np.stack([uniform_at(seed, int(image_id), update, count) for image_id in image_ids])
    steps = ((first + (last - first) * places) * len(schedule)).astype(np.int64)
    return Draws(np.minimum(steps, len(schedule) - 1), update * count + np.arange(count))


def uniform_at(seed: int, image_id: int, update: int, count: int) -> np.ndarray:
    """Random numbers ``(count,)`` in [0, 1) that depend on seed, image and update alone."""
    words = np.random.SeedSequence([seed, int(image_id) % 2**64, update])
    return np.random.Generator(np.random.Philox(words)).random(count)
