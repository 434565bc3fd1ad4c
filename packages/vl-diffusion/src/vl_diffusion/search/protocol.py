"""What a search is to the engine that runs it.

A search is written as a generator, so that the engine can run many images' searches side by side and fill its batches
from all of them: each `yield` asks for the errors of some classes on some draws, and receives them as an array
``(len(classes), len(draws))``, smaller being better.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Request = tuple[np.ndarray, np.ndarray]
"""Class indices and draw indices, both int64; every class is evaluated on every draw."""


@dataclass(frozen=True, eq=False)
class SearchInput:
    """One image's problem, as a search sees it."""

    num_classes: int
    """K: the classes to choose from are 0 ... K - 1."""

    logits: np.ndarray | None = None
    """Scores ``(K,)`` that another model gave the classes of this image, larger being likelier; for `Shortlist`."""


class SearchResult(int):
    """The index of the predicted class, which also knows the classes that were not given up.

    A plain index says that those were given up which saw fewer draws than the predicted class. A search that drops
    classes after their last draw says so with this.
    """

    remaining: np.ndarray
    """Indices of the predicted class and of those that could not be ruled out, int64."""

    def __new__(cls, prediction: int, remaining: np.ndarray) -> SearchResult:
        verdict = super().__new__(cls, prediction)
        verdict.remaining = remaining
        return verdict

    @classmethod
    def from_subset(cls, classes: np.ndarray, result: int) -> SearchResult:
        """The result of a search over these classes alone, in indices of all classes."""
        remaining = result.remaining if isinstance(result, SearchResult) else np.arange(len(classes))
        return cls(classes[result], classes[remaining])


class Search(Protocol):
    """What the engine asks of a search.

    A search never asks for the same class on the same draw twice, and asks for at least one draw of the class that it
    returns. One that also has `inner_names` (a label tree that probes names) may ask for indices K, K + 1 ..., which
    stand for these names, encoded as further classes.

    To a search, an evaluation is one draw of one class. One with the settings `max_evaluations` or `inner` (another
    search) is a dataclass: where a class has several prompts, it is copied with smaller budgets.
    """

    @property
    def num_draws(self) -> int:
        """M: how many draws there are in all; draw j is at the j-th of M evenly spaced time steps."""
        ...

    def budget(self, num_classes: int) -> int:
        """The largest number of evaluations that one image can cost; it is never exceeded."""
        ...

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        """Search one image; the generator's return value is the predicted class index, plain or as a `SearchResult`."""
        ...
