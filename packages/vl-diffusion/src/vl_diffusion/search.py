"""Which classes get how many draws: searches for the class with the smallest denoising error.

A draw is a pair of a time step and a noise. A search has M of them, numbered by time step from 0 to M - 1, and decides
which classes see which draws. It is written as a generator, so that the engine can run many images' searches side by
side and fill its batches from all of them: each `yield` asks for the errors of some classes on some draws, and receives
them as an array ``(len(classes), len(draws))``.
"""

from __future__ import annotations

import operator
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np

Request = tuple[np.ndarray, np.ndarray]
"""Class indices and draw indices, both int64; every class is evaluated on every draw."""

Grid = Literal["nested", "literal"]


class Search(Protocol):
    """What the engine asks of a search."""

    @property
    def num_draws(self) -> int:
        """M: how many draws there are in all; draw j is at the j-th of M evenly spaced time steps."""
        ...

    @property
    def num_stages(self) -> int:
        """The largest number of requests that one image can make."""
        ...

    def budget(self, num_classes: int) -> int:
        """The largest number of evaluations that one image can cost."""
        ...

    def requests(self, num_classes: int) -> Generator[Request, np.ndarray, int]:
        """Search one image; the generator's return value is the predicted class index."""
        ...


@dataclass(frozen=True)
class Exhaustive:
    """Every class on every draw."""

    draws: int = 250
    """Draws a class; the cost is this times the number of classes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "draws", _integer("draws", self.draws))
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws}")

    @property
    def num_draws(self) -> int:
        return self.draws

    @property
    def num_stages(self) -> int:
        return 1

    def budget(self, num_classes: int) -> int:
        return num_classes * self.draws

    def requests(self, num_classes: int) -> Generator[Request, np.ndarray, int]:
        errors = yield np.arange(num_classes), np.arange(self.draws)
        return int(errors.mean(1).argmin())


@dataclass(frozen=True)
class Staged:
    """Evaluate all classes on few draws, keep the best, go on with more draws: section 3.3 of Li et al. (2023).

    The stages' draws are evenly spaced in time. ``grid="nested"`` orders all draws once, so that every prefix is evenly
    spread (a van der Corput order) and each stage only adds what it lacks. ``grid="literal"`` takes the authors' grids,
    which do not contain one another: a class that survives is evaluated on more draws than its stage says.
    """

    draws: tuple[int, ...] = (50, 500)
    """Draws a class has seen at the end of each stage, increasing."""

    keep: tuple[int, ...] = (5, 1)
    """Classes that survive each stage, decreasing to 1."""

    grid: Grid = "nested"
    """How a stage's draws are placed in time."""

    def __post_init__(self) -> None:
        for name in ("draws", "keep"):
            object.__setattr__(self, name, _integers(name, getattr(self, name)))
        draws, keep = self.draws, self.keep
        if not draws or len(draws) != len(keep):
            raise ValueError(f"draws and keep need one entry a stage, got {len(draws)} and {len(keep)}")
        if draws[0] < 1 or any(a >= b for a, b in pairwise(draws)):
            raise ValueError(f"draws must be positive and increase from stage to stage, got {draws}")
        if keep[-1] != 1 or any(a <= b for a, b in pairwise(keep)):
            raise ValueError(f"keep must decrease from stage to stage and end in 1, got {keep}")
        if self.grid not in ("nested", "literal"):
            raise ValueError(f"grid must be nested or literal, got {self.grid!r}")
        if self.grid == "literal" and (uneven := [n for n in draws if draws[-1] % n]):
            raise ValueError(
                f"a literal grid needs stages that divide the last ({draws[-1]}), got {uneven}; use nested"
            )

    @property
    def num_draws(self) -> int:
        return self.draws[-1]

    @property
    def num_stages(self) -> int:
        return len(self.draws)

    def budget(self, num_classes: int) -> int:
        survivors = [num_classes, *(min(k, num_classes) for k in self.keep)]
        return sum(classes * len(new) for classes, new in zip(survivors, self.stages(), strict=False))

    def requests(self, num_classes: int) -> Generator[Request, np.ndarray, int]:
        alive = np.arange(num_classes)
        total, count = np.zeros(num_classes), 0
        for new, keep in zip(self.stages(), self.keep, strict=True):
            errors = yield alive, new
            total[alive] += errors.sum(1, dtype=np.float64)
            count += len(new)
            # A stable sort, so that a tie goes to the class that stands first.
            alive = np.sort(alive[np.argsort(total[alive] / count, kind="stable")[:keep]])
        return int(alive[0])

    def stages(self) -> tuple[np.ndarray, ...]:
        """The draws that each stage adds to those before it, ascending."""
        return _stages(self.draws, self.grid)


def _integers(name: str, values: Iterable[int]) -> tuple[int, ...]:
    try:
        return tuple(_integer(name, value) for value in values)
    except TypeError:
        raise TypeError(f"{name} must be a sequence of integers, one a stage, got {values!r}") from None


def _integer(name: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}") from None


@lru_cache(maxsize=64)
def _stages(draws: tuple[int, ...], grid: Grid) -> tuple[np.ndarray, ...]:
    order = nested_order(draws[-1])
    seen = np.zeros(draws[-1], bool)
    added = []
    for num in draws:
        stride = draws[-1] // num
        wanted = order[:num] if grid == "nested" else np.arange(stride // 2, draws[-1], stride)
        new = np.sort(wanted[~seen[wanted]])
        seen[new] = True
        added.append(new)
    return tuple(added)


def nested_order(num_draws: int) -> np.ndarray:
    """An order of 0 ... num_draws - 1 of which every prefix is spread evenly, beginning in the middle.

    The van der Corput sequence in base 2, moved by a half, read at the resolution of `num_draws`.

    Returns:
        A permutation, int64 ``(num_draws,)``.
    """
    bits = max(1, (num_draws - 1).bit_length())
    index = np.arange(2**bits)
    reversed_bits = sum(((index >> b) & 1) << (bits - 1 - b) for b in range(bits))
    position = (reversed_bits / 2**bits + 0.5) % 1
    draws: np.ndarray = (position * num_draws).astype(np.int64)
    _, first = np.unique(draws, return_index=True)
    order: np.ndarray = draws[np.sort(first)]
    return order
