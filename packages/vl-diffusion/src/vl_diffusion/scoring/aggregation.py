"""Scores of a draw from its errors: the errors themselves, votes, or z-scores over the classes."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Aggregation = Literal["mean", "vote", "zscore"]
"""The scores that are averaged over draws; the class with the smallest average wins.

- ``"mean"``: the errors themselves.
- ``"vote"``: minus one for the class with a draw's smallest error and zero for the others, so that the class with most
  votes wins, whatever the size of the errors.
- ``"zscore"``: the errors of a draw, standardized over classes, so that noisy steps with large errors count no more
  than others.

The last two compare the classes that are left in the search. A label tree does not evaluate all of them at once, and
supports means only.
"""


def check_aggregation(aggregation: str) -> None:
    """Raise ValueError unless `aggregation` is a known name."""
    if aggregation not in get_args(Aggregation):
        raise ValueError(f"aggregation must be one of {', '.join(get_args(Aggregation))}, got {aggregation!r}")


def draw_scores(errors: np.ndarray, aggregation: Aggregation) -> np.ndarray:
    """Scores ``(classes, draws)`` from errors of the same shape."""
    if aggregation == "mean" or not len(errors):
        return errors
    if aggregation == "vote":
        votes = np.zeros_like(errors)
        votes[errors.argmin(0), np.arange(errors.shape[1])] = -1
        return votes
    deviation = errors.std(0)
    scores: np.ndarray = (errors - errors.mean(0)) / np.where(deviation > 0, deviation, 1)
    return scores
