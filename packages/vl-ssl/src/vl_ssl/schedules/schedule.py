"""A schedule, which says the sample that a run sees at each position, and data sets that follow one.

A run is one row of positions 0, 1, 2, ... over all processes; ``length`` of them are an epoch, whatever part of the
data the epoch shows, so that runs under different schedules take equally many steps.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Sampler


class Samples(Protocol):
    """A map-style data set with a length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Schedule(Sampler[int]):
    """The index of a sample at each position of a run, as a sampler that resumes anywhere.

    The order is a function of the arguments and the position alone: no earlier position is replayed. Iteration begins
    at `position` and goes to the end of the run over all its epochs; `len` counts what is left.

    The position moves as indices are *yielded*. Workers of a data loader ask for indices ahead of what has been trained
    on, so a training loop that saves `state_dict` sets ``position`` to what it has trained on, before it does.

    Args:
        size: Samples in the data set.
        epochs: Epochs in the run.
        length: Positions in an epoch; by default ``size``.
        seed: Seed of the order.

    Raises:
        ValueError: If a count is below 1.

    Example:
        >>> schedule = MultiEpoch(5, epochs=2)
        >>> sorted(schedule)  # all epochs, from its position to the end
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        >>> schedule.position, len(schedule)
        (10, 0)
    """

    def __init__(self, size: int, epochs: int, *, length: int | None = None, seed: int = 0):
        length = size if length is None else length
        for name, value in (("size", size), ("epochs", epochs), ("length", length)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.size, self.epochs, self.length, self.seed = size, epochs, length, seed
        self._position = 0

    @property
    def positions(self) -> int:
        """Positions in the whole run, epochs times length."""
        return self.length * self.epochs

    @property
    def position(self) -> int:
        """Next position to yield; set it to go anywhere in the run.

        Raises:
            ValueError: If it is set outside the run.
        """
        return self._position

    @position.setter
    def position(self, value: int) -> None:
        if not 0 <= value <= self.positions:
            raise ValueError(f"position must lie in 0..{self.positions}, the run's positions, got {value}")
        self._position = int(value)

    def index(self, position: int) -> int:
        """Index of the sample at a position of the run, which stays where it is.

        Raises:
            IndexError: If the run has no such position.
        """
        if not 0 <= position < self.positions:
            raise IndexError(
                f"position must lie in 0..{self.positions - 1} in a run of {self.epochs} epochs of "
                f"{self.length}, got {position}"
            )
        return self._index(position)

    @abstractmethod
    def _index(self, position: int) -> int:
        """Index at a position that the run has."""

    def describe(self) -> dict[str, Any]:
        """Name and arguments, as JSON keeps them: what a run is known by."""
        return {"schedule": type(self).__name__, **self._arguments()}

    def state_dict(self) -> dict[str, int]:
        """Position, and the arguments by which a state is known: plain integers."""
        return {"position": self._position, **self._arguments()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue where another schedule of the same arguments was.

        Raises:
            ValueError: If the state is of other arguments; nothing changes then.
        """
        own = self.state_dict()
        if state.keys() != own.keys():
            raise ValueError(f"state must hold {sorted(own)}, got {sorted(state)}; it is of another kind of schedule")
        changed = [f"{name} {state[name]}, here {own[name]}" for name in self._fixed() if state[name] != own[name]]
        if changed:
            raise ValueError(f"state is of a schedule with {'; '.join(changed)}; make this one with the same arguments")
        self.position = state["position"]

    def _arguments(self) -> dict[str, int]:
        return {"size": self.size, "epochs": self.epochs, "length": self.length, "seed": self.seed}

    def reset(self) -> None:
        """Go back to the beginning of the run."""
        self._position = 0

    def _fixed(self) -> list[str]:
        """Names in the state that never change."""
        return [name for name in self.state_dict() if name != "position"]

    def __iter__(self) -> Iterator[int]:
        """Yield the indices from the position on, which moves along."""
        while self._position < self.positions:
            index = self._index(self._position)
            self._position += 1
            yield index

    def __len__(self) -> int:
        """Positions from here to the end of the run."""
        return self.positions - self._position


class Scheduled(Dataset[Any]):
    """A map-style data set in the order of a schedule, as `vl_core.training.fit` takes it: a sample at every position.

    Args:
        dataset: Samples by index.
        schedule: Says which of them each position shows; its own position has no part in it.

    Raises:
        ValueError: If the schedule is for another number of samples.

    Example:
        >>> Scheduled("abc", MultiEpoch(3, epochs=1))[2] in "abc"
        True
    """

    def __init__(self, dataset: Samples, schedule: Schedule):
        if len(dataset) != schedule.size:
            raise ValueError(
                f"schedule must be for the {len(dataset)} samples of the data set, got one for {schedule.size}"
            )
        self._dataset, self.schedule = dataset, schedule

    def __getitem__(self, position: int) -> Any:
        return self._dataset[self.schedule.index(position)]


# A worker reads positions in order, so the latest few are enough: those of the data, of an epoch, and of the next.
@lru_cache(maxsize=8)
def permutation(count: int, *key: int) -> npt.NDArray[np.int32]:
    """A random order of ``count`` numbers, a function of the key.

    Example:
        >>> sorted(permutation(3, 0, 7).tolist())
        [0, 1, 2]
    """
    seed = int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little") >> 1
    drawn: npt.NDArray[np.int32] = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).int().numpy()
    drawn.flags.writeable = False
    return drawn
