"""Exhaustive search over all draws."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from vl_diffusion.search.budgets import check_counts, within_budget
from vl_diffusion.search.draw_order import Grid, check_grid, nested_order, with_trials
from vl_diffusion.search.protocol import Request, SearchInput


@dataclass(frozen=True)
class Exhaustive:
    """Evaluate every class on every draw, and predict the one with the smallest mean error."""

    draws: int = 250
    """Draws per class; an image costs this times the number of classes and trials."""

    max_evaluations: int | None = None
    """Hard limit on the evaluations per image; it leaves fewer draws, the same for all classes and evenly spaced."""

    grid: Grid = "nested"
    """Placement of the draws in time: the middles of equal parts of the schedule, or the authors' stride as in
    `Staged`."""

    trials: int = 1
    """Noises per time step, see `Staged`."""

    def __post_init__(self) -> None:
        check_counts(self, draws=1, trials=1, max_evaluations=1)
        check_grid(self.grid)

    @property
    def num_draws(self) -> int:
        return self.draws * self.trials

    @property
    def strided(self) -> bool:
        """True if the time steps are multiples of the authors' stride."""
        return self.grid == "literal"

    def budget(self, num_classes: int) -> int:
        planned = num_classes * self.num_draws
        allowed = within_budget(planned, self.max_evaluations, num_classes, "one draw of each class")
        return allowed // num_classes * num_classes

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        affordable = self.budget(problem.num_classes) // problem.num_classes
        draws = with_trials(nested_order(self.draws), self.trials)[:affordable]
        errors = yield np.arange(problem.num_classes), np.sort(draws)
        return int(errors.mean(1).argmin())
