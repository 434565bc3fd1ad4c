"""Schedules that show all data, a chunk of it, or several chunks, in each epoch.

After the schedules of Li, Efros and Pathak, *Understanding Collapse in Non-Contrastive Siamese Representation
Learning*, ECCV 2022. The data lie in a fixed random order, divided into chunks whose sizes differ by at most one. An
epoch has as many positions as there are samples in all, or as said: what it shows is repeated, in an order of its own
each time, so every sample of it comes equally often, up to one.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from vl_ssl.schedules.schedule import Schedule, permutation

# What a permutation is for; a part of its key.
_DATA, _EPOCH = 0, 1


class MultiEpoch(Schedule):
    """All samples again and again, each time in another order: the usual way (``iid`` in the paper's code).

    Args:
        size: Samples in the data set.
        epochs: Epochs in the run.
        length: Positions in an epoch; by default ``size``, so that an epoch shows all samples once.
        seed: Seed of the order.

    Raises:
        ValueError: If a count is below 1.

    Example:
        >>> schedule = MultiEpoch(4, epochs=3)
        >>> sorted(schedule.index(position) for position in range(8, 12))  # the third epoch
        [0, 1, 2, 3]
    """

    def _index(self, position: int) -> int:
        turn, offset = divmod(position, self.size)
        return int(permutation(self.size, _EPOCH, self.seed, turn, 0)[offset])


class _Chunked(Schedule):
    """A schedule whose epochs each show a range of chunks of the data in a fixed random order."""

    def __init__(self, size: int, epochs: int, *, chunks: int | None = None, length: int | None = None, seed: int = 0):
        super().__init__(size, epochs, length=length, seed=seed)
        self.chunks = epochs if chunks is None else chunks
        if not 1 <= self.chunks <= size:
            raise ValueError(f"chunks must lie in 1..{size}, one sample each at the least, got {self.chunks}")

    def describe(self) -> dict[str, Any]:
        """Name and arguments, as JSON keeps them."""
        return {**super().describe(), "chunks": self.chunks}

    def state_dict(self) -> dict[str, int]:
        """Position and arguments: plain integers."""
        return {**super().state_dict(), "chunks": self.chunks}

    def chunk_of(self, epoch: int) -> int:
        """The newest chunk of an epoch, ``epoch * chunks // epochs``: all have their turn, equally long up to one."""
        return epoch * self.chunks // self.epochs

    def _check_turns(self) -> None:
        if self.chunks > self.epochs:
            raise ValueError(
                f"chunks must be at most epochs, so that each chunk has its turn, got {self.chunks} chunks in "
                f"{self.epochs} epochs"
            )

    @abstractmethod
    def _shown(self, epoch: int) -> tuple[int, int]:
        """First chunk of an epoch, and the first after its last."""

    def _index(self, position: int) -> int:
        epoch, offset = divmod(position, self.length)
        low, high = (chunk * self.size // self.chunks for chunk in self._shown(epoch))
        turn, within = divmod(offset, high - low)
        shuffled = permutation(high - low, _EPOCH, self.seed, epoch, turn)[within]
        return int(permutation(self.size, _DATA, self.seed)[low + shuffled])


class Continual(_Chunked):
    """One chunk of the data after the other, each repeated for an epoch: the paper's "single pass".

    With 100 chunks in 100 epochs, as in the paper, an epoch shows 1 % of the data, each sample of it about 100 times;
    no sample comes again in a later epoch. It is one pass over chunks, not one view of each image.

    Args:
        size: Samples in the data set.
        epochs: Epochs in the run.
        chunks: Parts of the data, at most ``epochs``; by default as many. Epoch ``e`` shows ``e * chunks // epochs``.
        length: Positions in an epoch; by default ``size``.
        seed: Seed of the order.

    Raises:
        ValueError: If a count is out of range.

    Example:
        >>> schedule = Continual(6, epochs=3)
        >>> first = [schedule.index(position) for position in range(6)]
        >>> len(set(first)), sorted(first.count(index) for index in set(first))
        (2, [3, 3])
    """

    def __init__(self, size: int, epochs: int, *, chunks: int | None = None, length: int | None = None, seed: int = 0):
        super().__init__(size, epochs, chunks=chunks, length=length, seed=seed)
        self._check_turns()

    def _shown(self, epoch: int) -> tuple[int, int]:
        chunk = self.chunk_of(epoch)
        return chunk, chunk + 1


class Accumulate(_Chunked):
    """The data seen so far in each epoch, one chunk more as the run goes on: the paper's cumulative schedule.

    Args:
        size: Samples in the data set.
        epochs: Epochs in the run.
        chunks: Parts of the data, at most ``epochs``; by default as many. Epoch ``e`` shows the first
            ``e * chunks // epochs + 1``.
        length: Positions in an epoch; by default ``size``.
        seed: Seed of the order.

    Raises:
        ValueError: If a count is out of range.

    Example:
        >>> schedule = Accumulate(6, epochs=3)
        >>> [len({schedule.index(6 * epoch + offset) for offset in range(6)}) for epoch in range(3)]
        [2, 4, 6]
    """

    def __init__(self, size: int, epochs: int, *, chunks: int | None = None, length: int | None = None, seed: int = 0):
        super().__init__(size, epochs, chunks=chunks, length=length, seed=seed)
        self._check_turns()

    def _shown(self, epoch: int) -> tuple[int, int]:
        return 0, self.chunk_of(epoch) + 1


class LastK(_Chunked):
    """The last ``k`` chunks: a window that moves over the data, or the same part of it in every epoch.

    Moving, epoch ``e`` shows its chunk and the ``k - 1`` before, fewer at the beginning: `Continual` with a memory.
    Not moving, each epoch shows the last ``k`` chunks of all, as the paper trains on ``k`` % of the data (its code's
    ``--strategy last --chunk_size k``): ``LastK(size, 100, k=10, moving=False)``.

    Args:
        size: Samples in the data set.
        epochs: Epochs in the run.
        k: Chunks that an epoch shows.
        moving: Whether the window moves with the epochs.
        chunks: Parts of the data; by default as many as epochs, and at most so many where the window moves.
        length: Positions in an epoch; by default ``size``.
        seed: Seed of the order.

    Raises:
        ValueError: If a count is out of range.

    Example:
        >>> schedule = LastK(8, epochs=4, k=2)
        >>> [len({schedule.index(8 * epoch + offset) for offset in range(8)}) for epoch in range(4)]
        [2, 4, 4, 4]
    """

    def __init__(
        self,
        size: int,
        epochs: int,
        *,
        k: int,
        moving: bool = True,
        chunks: int | None = None,
        length: int | None = None,
        seed: int = 0,
    ):
        super().__init__(size, epochs, chunks=chunks, length=length, seed=seed)
        if not 1 <= k <= self.chunks:
            raise ValueError(f"k must lie in 1..{self.chunks}, the number of chunks, got {k}")
        if moving:
            self._check_turns()
        self.k, self.moving = k, moving

    def describe(self) -> dict[str, Any]:
        """Name and arguments, as JSON keeps them."""
        return {**super().describe(), "k": self.k, "moving": self.moving}

    def state_dict(self) -> dict[str, int]:
        """Position and arguments: plain integers."""
        return {**super().state_dict(), "k": self.k, "moving": int(self.moving)}

    def _shown(self, epoch: int) -> tuple[int, int]:
        end = self.chunk_of(epoch) + 1 if self.moving else self.chunks
        return max(0, end - self.k), end
