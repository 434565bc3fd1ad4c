"""Hits under random tie-breaking, computed exactly, and by the strict comparison.

Ties are broken as if an independent, infinitesimal amount of noise were added to every score: each order of equal
scores is equally likely. Nothing is drawn: the share of orders that make a hit has a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Standing:
    """Place of the best right candidate of each item among all candidates."""

    above: Counts
    """Wrong candidates that score higher."""
    tied_right: Counts
    """Right candidates that score the same as the best one, itself included."""
    tied_wrong: Counts
    """Wrong candidates that score the same."""

    @property
    def tied(self) -> NDArray[np.bool_]:
        """True where a wrong candidate ties with the best right one."""
        found: NDArray[np.bool_] = self.tied_wrong > 0
        return found

    def expected_hits(self, k: int) -> Values:
        """Probability that a right candidate is among the first ``k``, over random orders of ties.

        With ``a`` right and ``b`` wrong candidates that tie, and ``r = k - above`` places left for them, all ``a`` fall
        behind with probability C(a+b-r, a) / C(a+b, a). For k = 1 and a = 1 a tie of n counts 1/n.
        """
        total = self.tied_right + self.tied_wrong
        left = total - np.clip(k - self.above, 0, total)
        missed = np.ones(len(total))
        for place in range(int(self.tied_right.max(initial=0))):
            factor = np.maximum(left - place, 0) / np.maximum(total - place, 1)
            missed *= np.where(place < self.tied_right, factor, 1.0)
        return 1.0 - missed

    def strict_hits(self, k: int) -> Values:
        """1 where a right candidate beats all but ``k - 1`` wrong ones strictly, else 0."""
        return (self.above + self.tied_wrong < k).astype(np.float64)


def standing(scores: NDArray[Any], right: NDArray[np.bool_]) -> Standing:
    """Place of the best right candidate in each row.

    Args:
        scores: ``(N, M)``, a row for each item.
        right: ``(N, M)``, True for right candidates; at least one in each row.
    """
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    equal = scores == best
    return Standing(
        above=(scores > best).sum(1),
        tied_right=(equal & right).sum(1),
        tied_wrong=(equal & ~right).sum(1),
    )


def expected_wins(first: NDArray[Any], second: NDArray[Any]) -> Values:
    """Probability that ``first`` comes out higher: 1, 1/2 for a tie, or 0."""
    wins: Values = (first > second) + 0.5 * (first == second)
    return wins


def expected_separations(right: NDArray[Any], wrong: NDArray[Any]) -> Values:
    """Probability that every right score comes out above every wrong one, over random orders of ties.

    Where the lowest right score equals the highest wrong one, ``a`` right and ``b`` wrong scores share the value, and
    one in C(a+b, a) of their orders puts the right ones first: 1/6 for two and two.

    Args:
        right: ``(N, 2)``.
        wrong: ``(N, 2)``.
    """
    lowest, highest = right.min(1, keepdims=True), wrong.max(1, keepdims=True)
    a, b = (right == lowest).sum(1), (wrong == highest).sum(1)
    orders = np.where(a + b == 2, 2, np.where(a + b == 3, 3, 6))
    return np.where((lowest == highest)[:, 0], 1 / orders, (lowest > highest)[:, 0].astype(np.float64))
