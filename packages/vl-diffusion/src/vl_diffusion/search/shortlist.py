"""A shortlist: another model says which classes are worth a search."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from vl_diffusion.search.budgets import check_counts, limited
from vl_diffusion.search.draw_order import nested_order
from vl_diffusion.search.protocol import Request, Search, SearchInput, SearchResult
from vl_diffusion.search.racing import Racing


@dataclass(frozen=True)
class Shortlist:
    """Search only among the classes that another model, such as CLIP or a trained classifier, finds likeliest.

    Appendix B of Li et al. (2023). The logits come with the image, as `Problem.logits`.
    """

    inner: Search = field(default_factory=Racing)
    """The search among the classes on the list."""

    top: int = 20
    """How many classes are on the list; ties go to the class that stands first."""

    max_evaluations: int | None = None
    """Hard limit on an image's evaluations, kept by the inner search, which must have this setting, too."""

    def __post_init__(self) -> None:
        check_counts(self, top=1, max_evaluations=1)
        limited(self.inner, self.max_evaluations)

    @property
    def num_draws(self) -> int:
        return self.inner.num_draws

    def budget(self, num_classes: int) -> int:
        listed = min(self.top, num_classes)
        return 1 if listed == 1 else limited(self.inner, self.max_evaluations).budget(listed)

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        logits = self._logits(problem)
        listed = np.sort(np.argsort(-logits, kind="stable")[: self.top])
        return (yield from search_among(listed, limited(self.inner, self.max_evaluations), logits[listed]))

    def _logits(self, problem: SearchInput) -> np.ndarray:
        if problem.logits is None:
            raise ValueError("logits are missing: Shortlist needs another model's scores (K,) for every image")
        logits = np.asarray(problem.logits, np.float64)
        if logits.shape != (problem.num_classes,):
            raise ValueError(f"logits must have shape ({problem.num_classes},), one a class, got {logits.shape}")
        if np.isnan(logits).any():
            raise ValueError(f"logits must not be NaN, got {np.isnan(logits).sum()} of {len(logits)}")
        return logits


def search_among(
    classes: np.ndarray, search: Search, logits: np.ndarray | None = None
) -> Generator[Request, np.ndarray, int]:
    """Search among these classes; the requests and the verdict are in indices of all classes.

    A single class has won, and is asked for once, for its error to be known.

    Args:
        classes: Indices, int64 ``(k,)``, ascending.
        search: How to search.
        logits: What another model says of them, ``(k,)``.
    """
    if len(classes) == 1:
        yield classes, nested_order(search.num_draws)[:1]
        return SearchResult(classes[0], classes)
    requests = search.requests(SearchInput(len(classes), logits))
    some, draws = next(requests)
    while True:
        errors = yield classes[some], draws
        try:
            some, draws = requests.send(errors)
        except StopIteration as end:
            return SearchResult.from_subset(classes, end.value)
