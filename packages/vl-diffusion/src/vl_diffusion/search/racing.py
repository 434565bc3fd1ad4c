"""Racing: eliminate classes as soon as paired differences to the leader show that they are worse.

Maron & Moore (1994) race models by their mean errors; Clark & Jaini (2023) race classes by paired t-tests on shared
noise. Here the tests (see `evidence`) are anytime-valid: checking after every round costs no validity.

**Why the best class is eliminated with probability at most `level`.** The first `opening` draws, on which all classes
are evaluated, only divide the level between the classes: if class l has rank r in them (r = 0, 1 ...), pairs that it
leads get the share w_l = (1 + 1/K) / ((r + 1) (r + 2)) of the level, and these shares add up to 1. Class k is
eliminated in favor of the leader l when the evidence from later draws that k is worse exceeds 1 / (level w_l). Let b be
the best class. It is eliminated only if for some l the evidence of the pair (l, b) ever exceeds its threshold although
b is not worse. Later draws are independent of the opening, so each of these events has probability at most level * w_l
given the opening, and their union at most the sum, `level`, whichever classes lead and however often the evidence is
checked. With ``opening=0`` every pair has the share 1 / (K - 1), the Bonferroni correction.

Where "best" means best on the M draws themselves, b depends on draws still to come. The argument then holds conditional
on every class's mean over the M draws, since normal deviations from a mean are independent of it; or, for empirical
Bernstein, conditional on the M draws up to their order.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vl_diffusion.search.budgets import check_counts, within_budget
from vl_diffusion.search.draw_order import nested_order
from vl_diffusion.search.evidence import BernsteinEvidence, Bound, Evidence, StudentEvidence
from vl_diffusion.search.protocol import Request, SearchInput, SearchResult

Aim = Literal["draws", "expectation"]


@dataclass(frozen=True)
class Racing:
    """Evaluate the classes on more and more draws, and eliminate each once it is shown to be worse than the leader.

    When one class is left, or the draws or evaluations run out, the class with the smallest mean error is predicted.
    The level is a bound for independent draws with normal (or, for ``"bernstein"``, bounded) differences; nested draws
    cover the time steps more evenly than independent ones, which makes the test conservative. The bound is for the
    worst case, classes that are almost equal to the best one; on real data far fewer predictions change.
    """

    draws: int = 250
    """Maximum draws per class, and the number of evenly spaced time steps."""

    level: float = 0.2
    """Largest probability that the best class is eliminated, over all comparisons and all rounds together."""

    bound: Bound = "t"
    """Test of the differences: ``"t"`` (normal, unknown scale) or ``"bernstein"`` (bounded by `spread`)."""

    aim: Aim = "draws"
    """Definition of the best class: best on all M draws, as found by exhaustive search, or in expectation."""

    opening: int = 2
    """Draws that only rank the classes, so that likely leaders get more of the level; 0 divides it equally."""

    first: int = 6
    """Draws per class before the first test."""

    growth: float = 0.1
    """New draws per round, as a fraction of the draws so far (at least 1); smaller saves evaluations, not CPU time."""

    prior: float = 1.0
    """For ``"t"``: prior variance of the effect size (mean over standard deviation of a difference)."""

    spread: float | None = None
    """For ``"bernstein"``: bound on the magnitude of a difference. None estimates it, which voids the guarantee."""

    max_evaluations: int | None = None
    """Hard limit on the evaluations per image; when it is reached, the best class so far is predicted."""

    def __post_init__(self) -> None:
        check_counts(self, draws=1, opening=0, first=1, max_evaluations=1)
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {self.level}; 5 % is 0.05")
        if self.bound not in ("t", "bernstein"):
            raise ValueError(f"bound must be t or bernstein, got {self.bound!r}")
        if self.aim not in ("draws", "expectation"):
            raise ValueError(f"aim must be draws or expectation, got {self.aim!r}")
        # With one or two draws there is nothing to test.
        if self.opening >= self.draws > 2:
            raise ValueError(
                f"opening must be less than draws ({self.draws}), so that some are left to test, got {self.opening}"
            )
        for name in ("growth", "prior", "spread"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if self.bound == "t" and self.spread is not None:
            raise ValueError(
                f"spread is only used with bound='bernstein', got {self.spread} with bound='t'; leave it out"
            )
        if self.bound == "bernstein" and self.spread is None and self.opening < 1:
            raise ValueError("opening must be at least 1 to estimate spread from it, got 0; or pass spread")

    @property
    def num_draws(self) -> int:
        return self.draws

    def budget(self, num_classes: int) -> int:
        return within_budget(num_classes * self.draws, self.max_evaluations, num_classes, "one draw of each class")

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        left, order = self.budget(problem.num_classes), nested_order(self.draws)
        alive, count = np.arange(problem.num_classes), 0
        errors, total = np.empty((len(alive), 0)), np.zeros(len(alive))
        evidence: Evidence | None = None
        leader = -1
        for look in self._looks():
            new = min(look - count, left // len(alive))
            if new < 1:
                break
            answer = (yield alive, order[count : count + new]).astype(np.float64)
            errors, total = np.concatenate([errors, answer], 1), total + answer.sum(1)
            count, left = count + new, left - new * len(alive)
            # After the last draw there is nothing left to save: the classes still alive were not ruled out.
            if len(alive) == 1 or count <= self.opening or count == self.draws:
                continue
            best = int(total.argmin())
            if evidence is None:
                share, spread = self._shares(errors[:, : self.opening]), self._spread(errors[:, : self.opening])
            if evidence is None or alive[best] != leader:
                leader = int(alive[best])
                level = self.level * share[leader]
                differences = self._bounded(errors - errors[best], spread)
                evidence = self._evidence(differences[:, : self.opening], level, spread)
                evidence.add(differences[:, self.opening :])
            else:
                evidence.add(self._bounded(answer - answer[best], spread))
            kept = evidence.log() < np.log(1 / level)
            if not kept.all():
                alive, errors, total = alive[kept], errors[kept], total[kept]
                evidence.keep(kept)
            if len(alive) == 1:
                break
        return SearchResult(alive[total.argmin()], alive)

    def _looks(self) -> Iterator[int]:
        """Cumulative number of draws at each round."""
        count = min(self.first, self.draws)
        while True:
            yield count
            if count == self.draws:
                return
            count = min(self.draws, count + max(1, round(self.growth * count)))

    def _shares(self, opening: np.ndarray) -> np.ndarray:
        """Share ``(K,)`` of the level for the pairs that each class leads; the shares against one class add up to 1."""
        num_classes = len(opening)
        if self.opening == 0:
            return np.full(num_classes, 1 / (num_classes - 1))
        rank = np.empty(num_classes)
        rank[opening.mean(1).argsort(kind="stable")] = np.arange(num_classes)
        shares: np.ndarray = (1 + 1 / num_classes) / ((rank + 1) * (rank + 2))
        return shares

    def _spread(self, opening: np.ndarray) -> float:
        if self.bound == "t" or self.spread is not None:
            return self.spread or math.inf
        # Twice the largest difference in the opening, a heuristic; infinite if all classes are equal there.
        return float(2 * np.ptp(opening, axis=0).max()) or math.inf

    def _bounded(self, differences: np.ndarray, spread: float) -> np.ndarray:
        if self.bound == "t":
            return differences
        if self.spread is None:
            return differences.clip(-spread, spread)
        if (largest := np.abs(differences).max()) > spread:
            raise ValueError(
                f"spread must bound all differences between classes, got {spread} and a difference of "
                f"{largest:.6g}; pass a larger one, or use bound='t'"
            )
        return differences

    def _evidence(self, opening: np.ndarray, level: float, spread: float) -> Evidence:
        population = self.draws if self.aim == "draws" else None
        if self.bound == "t":
            return StudentEvidence(opening, prior=self.prior, population=population)
        return BernsteinEvidence(opening, level=level, spread=spread, population=population)
