"""The order of draws, chosen so that the first few already cover all time steps."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np

Grid = Literal["nested", "literal"]
"""Placement of n draws: evenly spread in time, and nested in those of a later stage; or the authors' stride."""


def check_grid(grid: str) -> None:
    """Raise ValueError unless `grid` is a known name."""
    if grid not in get_args(Grid):
        raise ValueError(f"grid must be {' or '.join(get_args(Grid))}, got {grid!r}")


def with_trials(steps: np.ndarray, trials: int) -> np.ndarray:
    """Draws of these time steps, in their order, with `trials` consecutive draws per step."""
    draws: np.ndarray = (steps[:, None] * trials + np.arange(trials)).ravel()
    return draws


@lru_cache(maxsize=64)
def nested_order(num_draws: int) -> np.ndarray:
    """A permutation of 0 ... num_draws - 1 of which every prefix is evenly spread, starting in the middle.

    The van der Corput sequence in base 2, shifted by one half, at the resolution of `num_draws`.

    Returns:
        int64 ``(num_draws,)``, read-only because the array is cached.
    """
    bits = max(1, (num_draws - 1).bit_length())
    index = np.arange(2**bits)
    reversed_bits = sum(((index >> b) & 1) << (bits - 1 - b) for b in range(bits))
    position = (reversed_bits / 2**bits + 0.5) % 1
    draws: np.ndarray = (position * num_draws).astype(np.int64)
    _, first = np.unique(draws, return_index=True)
    order: np.ndarray = draws[np.sort(first)]
    order.flags.writeable = False
    return order
