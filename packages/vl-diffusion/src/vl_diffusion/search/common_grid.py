"""Searches with different numbers of draws, placed on one common grid so that they can be compared image by image."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from vl_diffusion.search.protocol import Request, Search, SearchInput


@dataclass(frozen=True)
class OnGrid:
    """A search whose draws come from a finer grid.

    Draw j of m is the grid's draw in the middle of the j-th of m equal parts of M.

    Raises:
        ValueError: If the grid has fewer draws than the search.
    """

    inner: Search
    """The search to place on the grid."""

    num_draws: int
    """M, the number of draws in the grid."""

    def __post_init__(self) -> None:
        if self.inner.num_draws > self.num_draws:
            raise ValueError(f"num_draws must be at least the search's {self.inner.num_draws}, got {self.num_draws}")

    @property
    def inner_names(self) -> tuple[str, ...]:
        """The inner names of the search."""
        return getattr(self.inner, "inner_names", ())

    def budget(self, num_classes: int) -> int:
        """The budget of the search."""
        return self.inner.budget(num_classes)

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        """Run the search with its draws mapped to the grid's."""
        own = self.inner.num_draws
        draw = (2 * np.arange(own) + 1) * self.num_draws // (2 * own)
        search = self.inner.requests(problem)
        try:
            classes, draws = next(search)
            while True:
                classes, draws = search.send((yield classes, draw[draws]))
        except StopIteration as end:
            result: int = end.value
            return result
