"""The staged search of Li et al. (2023), with the authors' grids of draws or with nested ones."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from vl_diffusion.search.budgets import check_counts, integers, within_budget
from vl_diffusion.search.draw_order import Grid, check_grid, nested_order, with_trials
from vl_diffusion.search.protocol import Request, SearchInput


@dataclass(frozen=True)
class Staged:
    """Evaluate all classes on a few draws, keep the best, and repeat with more draws (section 3.3 of Li et al., 2023).

    The draws of a stage are evenly spaced in time. ``grid="nested"`` orders all draws once, so that every prefix is
    evenly spread (van der Corput order) and a stage only adds the draws that are missing. ``grid="literal"`` uses the
    authors' grids, which are not nested: a surviving class is evaluated on more draws than its stage names. Their time
    steps are ``T // n`` apart, starting in the middle of the first such interval, and so are the draws of a stage among
    those of the last one; where n does not divide, the end of the range has none.
    """

    draws: tuple[int, ...] = (50, 500)
    """Cumulative draws per class at the end of each stage, increasing."""

    keep: tuple[int, ...] = (5, 1)
    """Number of classes kept after each stage, decreasing to 1."""

    grid: Grid = "nested"
    """Placement of a stage's draws in time."""

    max_evaluations: int | None = None
    """Hard limit on the evaluations per image; a shortened stage prunes on fewer draws, evenly spaced."""

    trials: int = 1
    """Noises per time step; each of `draws` is then a time step, on which a class is evaluated so many times."""

    def __post_init__(self) -> None:
        for name in ("draws", "keep"):
            object.__setattr__(self, name, integers(name, getattr(self, name)))
        check_counts(self, trials=1, max_evaluations=1)
        draws, keep = self.draws, self.keep
        if not draws or len(draws) != len(keep):
            raise ValueError(f"draws and keep need one entry per stage, got {len(draws)} and {len(keep)}")
        if draws[0] < 1 or any(a >= b for a, b in pairwise(draws)):
            raise ValueError(f"draws must be positive and increase from stage to stage, got {draws}")
        if keep[-1] != 1 or any(a <= b for a, b in pairwise(keep)):
            raise ValueError(f"keep must decrease from stage to stage and end in 1, got {keep}")
        check_grid(self.grid)

    @property
    def num_draws(self) -> int:
        return self.draws[-1] * self.trials

    @property
    def strided(self) -> bool:
        """True if the time steps are multiples of the authors' stride."""
        return self.grid == "literal"

    def budget(self, num_classes: int) -> int:
        return sum(num_alive * len(new) for num_alive, new in self._affordable(num_classes))

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        alive, total = np.arange(problem.num_classes), np.zeros(problem.num_classes)
        for num_alive, new in self._affordable(problem.num_classes):
            # A stable sort, so that a tie goes to the class with the smaller index.
            kept = np.sort(np.argsort(total, kind="stable")[:num_alive])
            alive, total = alive[kept], total[kept]
            errors = yield alive, new
            total += errors.sum(1, dtype=np.float64)
        return int(alive[total.argmin()])

    def _affordable(self, num_classes: int) -> Iterator[tuple[int, np.ndarray]]:
        """Number of classes and the new draws of each stage, within the budget."""
        survivors = [num_classes, *(min(k, num_classes) for k in self.keep)]
        stages = list(zip(survivors, self.stages(), strict=False))
        planned = sum(num_alive * len(new) for num_alive, new in stages)
        left = within_budget(planned, self.max_evaluations, num_classes, "one draw of each class")
        for num_alive, new in stages:
            if num_alive * len(new) > left:
                new = np.sort(new[nested_order(len(new))[: left // num_alive]])
            if len(new):
                yield num_alive, new
            left -= num_alive * len(new)

    def stages(self) -> tuple[np.ndarray, ...]:
        """New draws of each stage, ascending."""
        return tuple(with_trials(new, self.trials) for new in _stages(self.draws, self.grid))


@lru_cache(maxsize=64)
def _stages(draws: tuple[int, ...], grid: Grid) -> tuple[np.ndarray, ...]:
    order = nested_order(draws[-1])
    seen = np.zeros(draws[-1], bool)
    added = []
    for num in draws:
        stride = draws[-1] // num
        wanted = order[:num] if grid == "nested" else np.arange(stride // 2, draws[-1], stride)[:num]
        new = np.sort(wanted[~seen[wanted]])
        seen[new] = True
        added.append(new)
    return tuple(added)
