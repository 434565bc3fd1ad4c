"""Search among the classes that another model ranks highest."""

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
    """Search only among the likeliest classes according to another model, such as CLIP or a trained classifier.

    Appendix B of Li et al. (2023). The logits come with the image, as `SearchInput.logits`.
    """

    inner: Search = field(default_factory=Racing)
    """The search among the shortlisted classes."""

    top: int = 20
    """Number of classes on the shortlist; ties go to the class with the smaller index."""

    max_evaluations: int | None = None
    """Hard limit on the evaluations per image, enforced by the inner search, which must have this setting as well."""

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
            raise ValueError(
                "logits are missing: Shortlist needs another model's scores (K,) for every image; pass logits="
            )
        logits = np.asarray(problem.logits, np.float64)
        if logits.shape != (problem.num_classes,):
            raise ValueError(f"logits must have shape ({problem.num_classes},), one per class, got {logits.shape}")
        if np.isnan(logits).any():
            raise ValueError(f"logits must not be NaN, got {np.isnan(logits).sum()} of {len(logits)}")
        return logits


def search_among(
    classes: np.ndarray, search: Search, logits: np.ndarray | None = None
) -> Generator[Request, np.ndarray, int]:
    """Search among some of the classes; requests and result are in indices of all classes.

    A single class is predicted at once, and evaluated on one draw so that its error is known.

    Args:
        classes: Indices, int64 ``(k,)``, ascending.
        search: The search strategy.
        logits: Scores of these classes from another model, ``(k,)``.
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
