"""Searches with different numbers of draws on the same draws, so that they can be compared image by image."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from vl_diffusion.search.protocol import Request, Search, SearchInput


@dataclass(frozen=True)
class OnGrid:
    """A search whose draws are taken from a finer grid: its j-th of m is the one in the middle of its share of M.

    Raises:
        ValueError: If the grid has fewer draws than the search.
    """

    inner: Search
    """The search."""

    num_draws: int
    """M, draws of the grid."""

    def __post_init__(self) -> None:
        if self.inner.num_draws > self.num_draws:
            raise ValueError(f"num_draws must be at least the search's {self.inner.num_draws}, got {self.num_draws}")

    @property
    def inner_names(self) -> tuple[str, ...]:
        """Those of the search."""
        return getattr(self.inner, "inner_names", ())

    def budget(self, num_classes: int) -> int:
        """That of the search."""
        return self.inner.budget(num_classes)

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        """Those of the search, with draws of the grid."""
        own = self.inner.num_draws
        draw = (2 * np.arange(own) + 1) * self.num_draws // (2 * own)
        search = self.inner.requests(problem)
        try:
            classes, draws = next(search)
            while True:
                classes, draws = search.send((yield classes, draw[draws]))
        except StopIteration as end:
            verdict: int = end.value
            return verdict
