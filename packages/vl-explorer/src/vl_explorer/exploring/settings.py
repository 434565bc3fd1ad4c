"""Every number of an exploration, and recipes: functions that return settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """Settings of an exploration; the defaults are the paper's where it gives them (tables and appendix A).

    Raises:
        ValueError: If a value is out of range, or values do not go together.

    Example:
        >>> Exploration(queries=32, results=20, scouts=0, min_results=5).results
        20
    """

    iterations: int = 30
    """Iterations; the figures of the paper show 20 to 50."""
    queries: int = 256
    """Queries of an iteration."""
    opening: int = 0
    """Queries of the first iteration, where more than of the others; of use with ``contrast``, which takes the images
    that they find for a sample of the web."""
    results: int = 100
    """Results of a query."""
    min_results: int = 10
    """Images from which a query's concept gets a reward; with fewer, it is as if it had not been asked."""
    neighbors: int = 15
    """Nearest target images whose mean cosine is an image's reward."""
    contrast: float = 0.0
    """Weight of an image's likeness to the images of the first iteration, which is taken off its reward, see
    `vl_explorer.contrast_rewards`; 0 takes nothing, as in the paper."""
    top: int = 10
    """Best images whose mean reward is a concept's."""
    ratio: float = 3.0
    """Logarithm of how much likelier the best concept is drawn than the worst."""
    tiers: tuple[int, ...] = (250, 750)
    """Concepts of the best tiers; the rest is the last one."""
    masses: tuple[float, ...] = (0.8, 0.1, 0.1)
    """Share of the queries for each tier."""
    past_ratio: float = 2.0
    """Images of the replay and of the target that are trained on, for each new one."""
    replay_capacity: int = 100_000
    """Images of the replay, those of the largest rewards; the paper's has no bound."""
    kept: float = 1.0
    """Share of an iteration's new images, those of the largest rewards, that is trained on; the paper trains on all."""
    scouts: int = 0
    """First images of a query by which it may be dropped; 0 never drops one, as in the paper."""
    hopeless: float = 0.25
    """Quantile of the concept rewards so far that the best scout must reach, else the query is dropped."""
    repeat_concepts: bool = False
    """Draw concepts again that were searched for; of use where descriptors make other queries of them."""
    label_share: float = 0.5
    """Share of the queries that are labels, where a label set is given."""
    rescored: int = 10_000
    """Images of earlier iterations, those of the largest rewards, that get new rewards when the encoder has changed;
    the paper mixes rewards of all its encoders."""
    overlap: bool = True
    """Search, download and score an iteration while the learner trains on the one before. Rewards then come from the
    encoder before that training; without overlap, as in the paper, from the encoder after it."""
    adapt: bool = False
    """Train on the target alone before the first iteration."""
    queries_at_once: int = 8
    """Queries whose searches and downloads are under way at the same time; changes no result."""
    seed: int = 0
    """Seed of all draws."""

    def __post_init__(self) -> None:
        for name in ("iterations", "queries", "results", "min_results", "neighbors", "top", "queries_at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("past_ratio", "replay_capacity", "scouts", "rescored", "seed", "contrast", "opening"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        for name in ("hopeless", "label_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        if not 0 < self.kept <= 1:
            raise ValueError(f"kept must be above 0 and at most 1, got {self.kept}")
        if not 0 < self.ratio < math.inf:
            raise ValueError(f"ratio must be above 0 and finite, got {self.ratio}; the paper's is 3")
        if self.min_results > self.results:
            raise ValueError(f"min_results must be at most results, {self.results}, got {self.min_results}")
        if 0 < self.scouts < self.min_results:
            raise ValueError(
                f"scouts must be 0 or at least min_results, {self.min_results}, got {self.scouts}; the concept of a "
                "dropped query would get no reward"
            )
        if any(size < 1 for size in self.tiers):
            raise ValueError(f"tiers must be sizes of at least 1, got {self.tiers}")
        if len(self.masses) != len(self.tiers) + 1 or min(self.masses) < 0 or not math.isclose(sum(self.masses), 1):
            raise ValueError(
                f"masses must be {len(self.tiers) + 1} shares that sum to 1, one more than tiers, got {self.masses}"
            )

    def queries_of(self, iteration: int) -> int:
        """Queries of an iteration, counted from 0."""
        return self.queries if iteration else max(self.queries, self.opening)

    @property
    def searches(self) -> int:
        """Queries of all iterations."""
        return self.queries_of(0) + (self.iterations - 1) * self.queries


def paper_exploration(**changes: Any) -> Exploration:
    """The paper's exploration to the letter: no overlap, old rewards kept, concepts drawn again.

    Li, Brown, Efros and Pathak (2023), with the top 10 of section 2.4 where algorithm 1 takes the mean of all. Not run
    at that size here.

    Args:
        changes: Fields with other values.

    Example:
        >>> paper_exploration().queries
        256
    """
    return replace(Exploration(overlap=False, rescored=0, repeat_concepts=True, adapt=True), **changes)


def small_exploration(**changes: Any) -> Exploration:
    """Exploration of a small web, some minutes on a CPU.

    Args:
        changes: Fields with other values.
    """
    small = Exploration(
        iterations=10,
        queries=24,
        results=12,
        min_results=4,
        contrast=0.5,
        top=5,
        scouts=4,
        tiers=(60, 240),
        replay_capacity=2000,
    )
    return replace(small, **changes)
