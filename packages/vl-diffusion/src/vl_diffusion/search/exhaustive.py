"""The search that spares nothing."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from vl_diffusion.search._settings import integer
from vl_diffusion.search.protocol import Problem, Request


@dataclass(frozen=True)
class Exhaustive:
    """Every class on every draw."""

    draws: int = 250
    """Draws a class; the cost is this times the number of classes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "draws", integer("draws", self.draws))
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws}")

    @property
    def num_draws(self) -> int:
        return self.draws

    @property
    def num_stages(self) -> int:
        return 1

    def budget(self, num_classes: int) -> int:
        return num_classes * self.draws

    def requests(self, problem: Problem) -> Generator[Request, np.ndarray, int]:
        errors = yield np.arange(problem.num_classes), np.arange(self.draws)
        return int(errors.mean(1).argmin())
