"""Racing: classes drop out as soon as paired differences to the leader prove them worse.

Maron & Moore (1994) race models by their mean errors; Clark & Jaini (2023) race classes by paired t-tests on noise
that they share. Here the tests (see `evidence`) hold at all times, so that looking again and again costs no validity.

**Why the best class is dropped with a probability of at most `level`.** The first `opening` draws, which all classes
see, serve only to share the level out: if a class l comes r-th in them (r = 0, 1 ...), pairs that it leads get the
share w_l = (1 + 1/K) / ((r + 1) (r + 2)) of it, and these shares add up to 1. A class k is dropped in favor of the
leader l when the evidence of the later draws that k is worse exceeds 1 / (level w_l). Let b be the best class. It is
dropped only if for some l the evidence of the pair (l, b) ever exceeds its bound, though b is no worse. Later draws
being independent of the opening, each of these happens with a probability of at most level * w_l given the opening,
and one of them with at most the sum, `level`: whichever classes lead, and however often one looks. With ``opening=0``
every pair has the share 1 / (K - 1), which is Bonferroni's.

Where "best" means best on the M draws themselves, b depends on draws still to come. All of this then holds given
every class's mean over the M draws, since normal deviations from a mean are independent of it; or, for empirical
Bernstein, given the M draws up to their order.
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
    """Show the classes more and more draws, and drop each as soon as it is certainly worse than the leader.

    When one class is left, or the draws or evaluations run out, the class with the smallest mean wins. The level is a
    bound for independent draws whose differences are normal (or, for ``"bernstein"``, bounded); nested draws cover the
    time steps more evenly than independent ones, which errs on the safe side. It is also a bound on the worst case,
    classes that are all but equal to the best one; over the images of a data set far fewer verdicts change.
    """

    draws: int = 250
    """The most draws that a class sees, and how finely the time steps are divided."""

    level: float = 0.2
    """The largest probability with which the best class may be dropped, over all comparisons and all looks together."""

    bound: Bound = "t"
    """How differences are judged: as normal, of any scale, or by empirical Bernstein, as bounded by `spread`."""

    aim: Aim = "draws"
    """What the best class is: best on all of the M draws, which exhaustive search would find, or in expectation."""

    opening: int = 2
    """Draws that only rank the classes, so that likely leaders get more of the level; 0 treats all pairs alike."""

    first: int = 6
    """Draws of every class before the first look."""

    growth: float = 0.1
    """New draws a round, as a share of those before, at least 1: smaller saves evaluations and costs bookkeeping."""

    prior: float = 1.0
    """For ``"t"``: variance of the effect size, mean over deviation of a difference, on which the evidence bets."""

    spread: float | None = None
    """For ``"bernstein"``: a difference's largest magnitude. None guesses from the opening, and voids the guarantee."""

    max_evaluations: int | None = None
    """Hard limit on an image's evaluations; where it is reached, the best so far wins."""

    def __post_init__(self) -> None:
        check_counts(self, draws=1, opening=0, first=1, max_evaluations=1)
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {self.level}; 5 % is 0.05")
        if self.bound not in ("t", "bernstein"):
            raise ValueError(f"bound must be t or bernstein, got {self.bound!r}")
        if self.aim not in ("draws", "expectation"):
            raise ValueError(f"aim must be draws or expectation, got {self.aim!r}")
        # Of one or two draws there is nothing to test.
        if self.opening >= self.draws > 2:
            raise ValueError(f"opening must be less than draws ({self.draws}) for any to be tested, got {self.opening}")
        for name in ("growth", "prior", "spread"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if self.bound == "t" and self.spread is not None:
            raise ValueError(f"spread is of use with bound='bernstein' alone, got {self.spread} with bound='t'")
        if self.bound == "bernstein" and self.spread is None and self.opening < 1:
            raise ValueError("opening must be at least 1 for spread to be guessed from it, got 0; or give spread")

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
            # After the last draw there is nothing left to save: those that are still in were not ruled out before.
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
        """How many draws the classes have seen at each look."""
        count = min(self.first, self.draws)
        while True:
            yield count
            if count == self.draws:
                return
            count = min(self.draws, count + max(1, round(self.growth * count)))

    def _shares(self, opening: np.ndarray) -> np.ndarray:
        """Each class's share ``(K,)`` of the level, for the pairs that it leads; what one class faces adds up to 1."""
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
        # Twice what the classes differ by at most, which no law says is enough; nothing is learned if they are all one.
        return float(2 * np.ptp(opening, axis=0).max()) or math.inf

    def _bounded(self, differences: np.ndarray, spread: float) -> np.ndarray:
        if self.bound == "t":
            return differences
        if self.spread is None:
            return differences.clip(-spread, spread)
        if (largest := np.abs(differences).max()) > spread:
            raise ValueError(
                f"spread must bound all differences between classes, got {spread} and a difference of "
                f"{largest:.6g}; give a larger one, or use bound='t'"
            )
        return differences

    def _evidence(self, opening: np.ndarray, level: float, spread: float) -> Evidence:
        population = self.draws if self.aim == "draws" else None
        if self.bound == "t":
            return StudentEvidence(opening, prior=self.prior, population=population)
        return BernsteinEvidence(opening, level=level, spread=spread, population=population)
