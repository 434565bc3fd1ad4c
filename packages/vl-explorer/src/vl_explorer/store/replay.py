"""Replay: the best images of a run so far, a bounded number of them, some of which are trained on again.

Internet Explorer adds the better half of every iteration and never takes one out. Here the best `capacity` images by
their present reward are the pool, so that one which looks worse to a later encoder leaves it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from vl_explorer.store.store import Store


def replay(store: Store, run_id: int, *, capacity: int, count: int, seed: int, iteration: int) -> list[str]:
    """Images to train on again.

    Args:
        store: With the rewards of the run; images whose file was evicted are no part of the pool.
        run_id: Of the run.
        capacity: Size of the pool: its images have the largest rewards.
        count: Images to draw; all of the pool if it is smaller.
        seed: Of the run.
        iteration: Number of the iteration that trains on them.

    Returns:
        SHA-256 of the images, a function of the pool, the seed and the iteration alone.

    Raises:
        ValueError: If `capacity` or `count` is below 0.
    """
    if capacity < 0:
        raise ValueError(f"capacity must be at least 0 images, got {capacity}")
    return draw(store.best_images(run_id, capacity), count, seed=seed, iteration=iteration)


def draw(pool: Iterable[str], count: int, *, seed: int, iteration: int) -> list[str]:
    """Draw without replacement: those whose hash with seed and iteration is smallest.

    The order of the pool does not matter, and an image that joins or leaves it changes one place of the draw at most.

    Raises:
        ValueError: If `count` is below 0.

    Example:
        >>> draw(["a", "b", "c"], 2, seed=0, iteration=1) == draw(["c", "b", "a"], 2, seed=0, iteration=1)
        True
    """
    if count < 0:
        raise ValueError(f"count must be at least 0 images, got {count}")
    return sorted(pool, key=lambda key: sha256(f"{seed} {iteration} {key}".encode()).digest())[:count]
