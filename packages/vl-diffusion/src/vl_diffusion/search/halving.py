"""Successive halving: rounds of equal cost, each keeping the better half of the classes.

Karnin, Koren & Somekh (2013), "Almost Optimal Exploration in Multi-Armed Bandits", section 3, with three differences:
all classes share the same draws, a class is ranked by its mean over all draws so far instead of the last round's, and
the last two classes, which are the hardest to tell apart, are evaluated on all remaining draws.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np

from vl_diffusion.search.budgets import check_counts, within_budget
from vl_diffusion.search.draw_order import nested_order
from vl_diffusion.search.protocol import Request, SearchInput


@dataclass(frozen=True)
class Halving:
    """Evaluate all classes on a few draws, keep the better half with about twice as many draws, and repeat.

    The last two classes are evaluated on all draws, or as many as the budget allows.
    """

    draws: int = 250
    """Maximum draws per class, and the number of evenly spaced time steps."""

    first: int = 8
    """Draws per class in the first round; later rounds spend as many evaluations on fewer classes, down to two."""

    max_evaluations: int | None = None
    """Hard limit on the evaluations per image; rounds are shortened or skipped when it is reached."""

    def __post_init__(self) -> None:
        check_counts(self, draws=1, first=1, max_evaluations=1)
        if self.first > self.draws:
            raise ValueError(f"first must be at most draws ({self.draws}), got {self.first}")

    @property
    def num_draws(self) -> int:
        return self.draws

    def budget(self, num_classes: int) -> int:
        return sum(num_alive * new for num_alive, new in self._rounds(num_classes))

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        order = nested_order(self.draws)
        alive, total, count = np.arange(problem.num_classes), np.zeros(problem.num_classes), 0
        for num_alive, new in self._rounds(problem.num_classes):
            # A stable sort, so that a tie goes to the class with the smaller index.
            kept = np.sort(np.argsort(total, kind="stable")[:num_alive])
            alive, total = alive[kept], total[kept]
            errors = yield alive, order[count : count + new]
            total += errors.sum(1, dtype=np.float64)
            count += new
        return int(alive[total.argmin()])

    def _rounds(self, num_classes: int) -> Iterator[tuple[int, int]]:
        """Number of classes and of new draws in each round."""
        left = within_budget(num_classes * self.draws, self.max_evaluations, num_classes, "one draw of each class")
        num_alive, count = num_classes, 0
        while True:
            planned = self.first * num_classes // num_alive if num_alive > 2 else self.draws
            new = min(planned, self.draws - count, left // num_alive)
            if new < 1:
                return
            yield num_alive, new
            count, left = count + new, left - num_alive * new
            if num_alive <= 2:
                return
            num_alive = (num_alive + 1) // 2
