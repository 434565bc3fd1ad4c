"""Successive halving: rounds of equal cost, each of which lets the better half of the classes go on.

Karnin, Koren & Somekh (2013), "Almost Optimal Exploration in Multi-Armed Bandits", section 3, with three departures:
all classes see the same draws, a class is judged by all draws that it has seen rather than by the round's alone, and
the last two, which are the hardest to tell apart, go on to the last draw.
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
    """Show all classes a few draws, go on with the better half and about twice as many draws, and so on.

    The last two see all draws that there are, or that the evaluations last for.
    """

    draws: int = 250
    """The most draws that a class sees, and how finely the time steps are divided."""

    first: int = 8
    """Draws of every class in the first round; later ones spend as many evaluations on fewer classes, down to two."""

    max_evaluations: int | None = None
    """Hard limit on an image's evaluations; rounds are cut short or left out where it is reached."""

    def __post_init__(self) -> None:
        check_counts(self, draws=1, first=1, max_evaluations=1)
        if self.first > self.draws:
            raise ValueError(f"first must be at most draws ({self.draws}), got {self.first}")

    @property
    def num_draws(self) -> int:
        return self.draws

    def budget(self, num_classes: int) -> int:
        return sum(classes * new for classes, new in self._rounds(num_classes))

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        order = nested_order(self.draws)
        alive, total, count = np.arange(problem.num_classes), np.zeros(problem.num_classes), 0
        for classes, new in self._rounds(problem.num_classes):
            # A stable sort, so that a tie goes to the class that stands first.
            kept = np.sort(np.argsort(total, kind="stable")[:classes])
            alive, total = alive[kept], total[kept]
            errors = yield alive, order[count : count + new]
            total += errors.sum(1, dtype=np.float64)
            count += new
        return int(alive[total.argmin()])

    def _rounds(self, num_classes: int) -> Iterator[tuple[int, int]]:
        """Classes and new draws of each round."""
        left = within_budget(num_classes * self.draws, self.max_evaluations, num_classes, "one draw of each class")
        classes, count = num_classes, 0
        while True:
            of_round = self.first * num_classes // classes if classes > 2 else self.draws
            new = min(of_round, self.draws - count, left // classes)
            if new < 1:
                return
            yield classes, new
            count, left = count + new, left - classes * new
            if classes <= 2:
                return
            classes = (classes + 1) // 2
