"""Time steps and noise of an update: the draws on which images are denoised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vl_diffusion.models.schedule import NoiseSchedule

Placement = Literal["even", "random", "offset"]
"""One draw in each of n equal shares of the schedule, shifted from update to update; or uniformly at random, anew for
each image and update; or evenly, a whole number of steps apart, from a random first step of each image and update."""

# Multiples of the golden ratio, modulo 1, fill the unit interval evenly however many there are.
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Draws:
    """Time steps and noise for every image of a batch, ``n`` draws per image.

    Attributes:
        steps: int64 ``(n,)`` or ``(B, n)``, steps of the schedule.
        numbers: int64 ``(n,)``, which draws of an image's noise they are.
    """

    steps: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, part: slice) -> Draws:
        return Draws(self.steps[..., part], self.numbers[part])


def place_draws(
    schedule: NoiseSchedule,
    count: int,
    *,
    update: int,
    time_range: tuple[float, float] = (0.0, 1.0),
    placement: Placement = "even",
    group: int | None = None,
    image_ids: np.ndarray,
    seed: int = 0,
) -> Draws:
    """The draws of one update; every update has noise of its own.

    Args:
        schedule: The model's.
        count: Draws of an image.
        update: Number of the update, from 0.
        time_range: The part of the schedule that is used, from 0 (no noise) to 1.
        placement: How draws are placed within it.
        group: Draws that share a first step, for ``"offset"``; None for all.
        image_ids: int64 ``(B,)``; not used by even placement.
        seed: Not used by even placement.

    Raises:
        ValueError: If a group has more draws than there are steps.
    """
    first, last = time_range
    if placement == "offset":
        steps = _offset_steps(len(schedule), count, update, time_range, group or count, image_ids, seed)
        return Draws(steps, update * count + np.arange(count))
    if placement == "even":
        places = (np.arange(count) + (0.5 + update * _GOLDEN) % 1) / count
    else:
        places = np.stack([uniform_at(seed, int(image_id), update, count) for image_id in image_ids])
    steps = ((first + (last - first) * places) * len(schedule)).astype(np.int64)
    return Draws(np.minimum(steps, len(schedule) - 1), update * count + np.arange(count))


def _offset_steps(
    num_steps: int,
    count: int,
    update: int,
    time_range: tuple[float, float],
    group: int,
    image_ids: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Steps ``(B, count)`` in groups; each group begins within its first stride."""
    low, high = (int(bound * num_steps) for bound in time_range)
    group = min(group, count)
    stride = (high - low) // group
    if stride < 1:
        raise ValueError(
            f"draws={count} with placement='offset' need as many steps, and time_range leaves {high - low}; give fewer "
            "draws, or group= smaller groups"
        )
    groups = -(-count // group)
    start = np.stack([uniform_at(seed, int(image_id), update, groups) for image_id in image_ids])
    begin = np.minimum((start * stride).astype(np.int64), stride - 1)
    steps = low + begin[:, :, None] + stride * np.arange(group)
    return steps.reshape(len(image_ids), -1)[:, :count]


def uniform_at(seed: int, image_id: int, update: int, count: int) -> np.ndarray:
    """Random numbers ``(count,)`` in [0, 1) that depend on seed, image and update alone."""
    words = np.random.SeedSequence([seed, int(image_id) % 2**64, update])
    return np.random.Generator(np.random.Philox(words)).random(count)
