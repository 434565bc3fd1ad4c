"""Which image is seen when: a pure function of the seed and the place in the run.

The run is one long row of places; each ``size`` of them are all images in an order of their own. Every update takes
the next ``batch_size`` places. So the images of an update are the same on any number of processes, and a resumed run
goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch.utils.data import Sampler


def image_at(place: int, size: int, seed: int) -> int:
    """Which of ``size`` images stands at a place of the row."""
    return _order(place // size, size, seed)[place % size]


@lru_cache(maxsize=2)
def _order(epoch: int, size: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(size, generator=generator).tolist()


class ResumableBatchSampler(Sampler[list[int]]):
    """Places of one process's passes, from an update on to the last.

    Args:
        first: The first update that is still to be done.
        updates: How many there are in all.
        batch_size: Places an update, over all processes and passes.
        accumulation: Passes of a process an update.
        rank: Which process this is.
        processes: How many there are.

    Raises:
        ValueError: If an update cannot be divided into equal passes.
    """

    def __init__(self, first: int, updates: int, batch_size: int, accumulation: int, rank: int, processes: int):
        passes = accumulation * processes
        if batch_size % passes:
            raise ValueError(
                f"batch_size must be a multiple of processes times accumulation, {processes} x {accumulation}; got "
                f"{batch_size}"
            )
        self._first, self._updates, self._batch = first, updates, batch_size
        self._size = batch_size // passes
        self._offsets = [(i * processes + rank) * self._size for i in range(accumulation)]

    def __iter__(self) -> Iterator[list[int]]:
        for update in range(self._first, self._updates):
            for offset in self._offsets:
                start = update * self._batch + offset
                yield list(range(start, start + self._size))

    def __len__(self) -> int:
        return (self._updates - self._first) * len(self._offsets)
