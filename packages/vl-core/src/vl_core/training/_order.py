"""Order of a run: the sample seen at each place, a pure function of the seed and the place.

The run is one long row of places; each ``size`` of them are all samples in an order of their own, an epoch. Every
update takes the next ``batch_size`` places, so an update sees the same samples on any number of processes, and a
resumed run continues in the middle of an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch.utils.data import Dataset, Sampler


class Sized(Protocol):
    """A map-style data set with a length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def shuffled_index(place: int, size: int, seed: int) -> int:
    """Index of the sample at a place of the row, among ``size`` samples.

    Example:
        >>> sorted(shuffled_index(place, 4, seed=0) for place in range(8, 12))  # the third epoch
        [0, 1, 2, 3]
    """
    return _order(place // size, size, seed)[place % size]


@lru_cache(maxsize=2)
def _order(epoch: int, size: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(size, generator=generator).tolist()


class Shuffled(Dataset[Any]):
    """A map-style data set as `fit` wants it: a sample at every place of the run, each epoch in an order of its own.

    Args:
        dataset: Samples by index.
        seed: Seed of the order.

    Raises:
        ValueError: If the data set is empty.
    """

    def __init__(self, dataset: Sized, seed: int):
        if not len(dataset):
            raise ValueError("dataset must hold at least one sample, got none")
        self._dataset, self._seed = dataset, seed

    def __getitem__(self, place: int) -> Any:
        return self._dataset[shuffled_index(place, len(self._dataset), self._seed)]


class ResumableBatchSampler(Sampler[list[int]]):
    """Places of one process's passes, from an update to the last.

    Args:
        first: First update to do.
        updates: Updates in all.
        batch_size: Places an update, over all processes and passes.
        accumulation: Passes of a process an update.
        rank: Rank of this process.
        processes: Number of processes.

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
        self.first, self._updates, self._batch = first, updates, batch_size
        self._size = batch_size // passes
        self._offsets = [(i * processes + rank) * self._size for i in range(accumulation)]

    def __iter__(self) -> Iterator[list[int]]:
        for update in range(self.first, self._updates):
            for offset in self._offsets:
                start = update * self._batch + offset
                yield list(range(start, start + self._size))

    def __len__(self) -> int:
        return (self._updates - self.first) * len(self._offsets)
