"""The interface between a search and the engine that runs it.

A search is a generator, so that the engine can run the searches of many images concurrently and fill its batches from
all of them: each `yield` requests the errors of some classes on some draws, and receives them as an array
``(len(classes), len(draws))``; smaller is better.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Request = tuple[np.ndarray, np.ndarray]
"""Class indices and draw indices, both int64; every class of the request is evaluated on every draw of it."""


@dataclass(frozen=True, eq=False)
class SearchInput:
    """The input of a search over one image."""

    num_classes: int
    """K, the number of classes to choose from, with indices 0 ... K - 1."""

    logits: np.ndarray | None = None
    """Scores ``(K,)`` of the classes from another model, larger is likelier; used by `Shortlist`."""


class SearchResult(int):
    """The index of the predicted class, together with the classes that were not pruned.

    A search may also return a plain index: classes with fewer draws than the predicted one then count as pruned. A
    search that prunes classes after their last draw returns a `SearchResult`.
    """

    remaining: np.ndarray
    """Indices of the predicted class and of the classes that could not be ruled out, int64."""

    def __new__(cls, prediction: int, remaining: np.ndarray) -> SearchResult:
        result = super().__new__(cls, prediction)
        result.remaining = remaining
        return result

    @classmethod
    def from_subset(cls, classes: np.ndarray, result: int) -> SearchResult:
        """The result of a search over these classes alone, in indices of all classes."""
        remaining = result.remaining if isinstance(result, SearchResult) else np.arange(len(classes))
        return cls(classes[result], classes[remaining])


class Search(Protocol):
    """The interface of a search strategy.

    A search never requests the same class on the same draw twice, and requests at least one draw of the class that it
    returns. A search with the attribute `inner_names` (a label tree that probes names) may request indices K, K + 1
    ..., which stand for these names, encoded as additional classes. The attribute `trials` says how many consecutive
    draws share a time step, and `strided` how the steps are placed, see `NoiseSchedule.steps`; without them every draw
    has its own step, in the middle of an equal part of the schedule.

    To a search, an evaluation is one draw of one class. A search with the settings `max_evaluations` or `inner`
    (another search) must be a dataclass: for classes with several prompts, it is copied with smaller budgets.
    """

    @property
    def num_draws(self) -> int:
        """M, the total number of draws; draw j is at the j-th of M evenly spaced time steps."""
        ...

    def budget(self, num_classes: int) -> int:
        """Upper bound on the evaluations of one image."""
        ...

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        """Search one image; the generator returns the predicted class index, plain or as a `SearchResult`."""
        ...
