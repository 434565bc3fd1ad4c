"""A search among some of the classes, as a search of its own."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from vl_diffusion.search.grids import nested_order
from vl_diffusion.search.protocol import Request, Search, SearchInput, SearchResult


def among(classes: np.ndarray, search: Search, logits: np.ndarray | None = None) -> Generator[Request, np.ndarray, int]:
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
            return SearchResult.among(classes, end.value)
