"""Exhaustive search over all draws."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from vl_diffusion.search.budgets import check_counts, within_budget
from vl_diffusion.search.draw_order import nested_order
from vl_diffusion.search.protocol import Request, SearchInput


@dataclass(frozen=True)
class Exhaustive:
    """Evaluate every class on every draw, and predict the one with the smallest mean error."""

    draws: int = 250
    """Draws per class; an image costs this times the number of classes."""

    max_evaluations: int | None = None
    """Hard limit on the evaluations per image; it leaves fewer draws, the same for all classes and evenly spaced."""

    def __post_init__(self) -> None:
        check_counts(self, draws=1, max_evaluations=1)

    @property
    def num_draws(self) -> int:
        return self.draws

    def budget(self, num_classes: int) -> int:
        allowed = within_budget(num_classes * self.draws, self.max_evaluations, num_classes, "one draw of each class")
        return allowed // num_classes * num_classes

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        draws = nested_order(self.draws)[: self.budget(problem.num_classes) // problem.num_classes]
        errors = yield np.arange(problem.num_classes), np.sort(draws)
        return int(errors.mean(1).argmin())
