"""Strategies of relabeling: for which tasks a finished path is stored once more.

All take a `Hindsight` and return tasks `(k, Z)`, or `(k, T, Z)` where each transition gets its own. `k` is
`n_relabels`, or less where there are fewer choices. A new strategy is one function and one line in `STRATEGIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vl_rl.hindsight.returns import Paths, discounted_returns, percentiles
from vl_rl.hindsight.tasks import AchievedTasks, Array, TaskFamily, Transitions, check_tasks

__all__ = ["STRATEGIES", "Hindsight", "Strategy", "Value"]

Value = Callable[[Array, Array], NDArray[np.float64]]
"""Estimate of the return from observations ``(K, D)`` for tasks ``(K, Z)``, shape ``(K,)``."""


@dataclass
class Hindsight:
    """Situation of a strategy when a path is complete."""

    family: TaskFamily
    path: Transitions
    """The new path, ``(T,)``."""
    task: Array
    """The task that it was collected for, ``(Z,)``."""
    rng: np.random.Generator
    gamma: float
    n_relabels: int
    n_candidates: int
    earlier: Callable[[], Paths | None]
    """Gives the paths of the cache, oldest first and without the new one; None if there are none."""
    value: Value | None
    """The agent's value function; None if no agent is attached."""
    ties: str
    """Tie-breaker between candidates of equal percentile, ``"return"`` or ``"advantage"``."""

    @property
    def candidates(self) -> Array:
        """The path's own task, and ``n_candidates - 1`` that are drawn anew, ``(n_candidates, Z)``."""
        drawn = self.draw(self.n_candidates - 1)
        return np.concatenate([self.task[None], drawn])

    def draw(self, count: int) -> Array:
        """Draw tasks of the family, ``(count, Z)``."""
        return check_tasks(self.family.sample_tasks(count, self.rng), self.family.task_space, "sample_tasks' result")

    def returns(self, tasks: Array) -> NDArray[np.float64]:
        """Discounted returns of the path, ``(K,)``."""
        paths = Paths(self.path, np.array([len(self.path.features)]))
        return np.asarray(discounted_returns(self.family, paths, tasks, self.gamma)[0])

    def advantages(self, tasks: Array, returns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns minus what the agent expects from the path's first observation, ``(K,)``."""
        if self.value is None:
            raise RuntimeError(
                "relabeling by advantage needs the agent's value function; pass callback=HindsightCallback() to "
                "learn(), or call replay_buffer.attach(model)"
            )
        first = np.repeat(self.path.observation[:1], len(tasks), axis=0)
        return np.asarray(returns - self.value(first, tasks))


Strategy = Callable[[Hindsight], Array]


def none(hindsight: Hindsight) -> Array:
    """No relabeling: the path keeps its task."""
    return hindsight.task[None][:0]


def random(hindsight: Hindsight) -> Array:
    """Tasks drawn at random."""
    return hindsight.draw(hindsight.n_relabels)


def reward(hindsight: Hindsight) -> Array:
    """The candidates for which the path has the largest discounted return."""
    tasks = hindsight.candidates
    return tasks[_best(hindsight.n_relabels, hindsight.returns(tasks))]


def advantage(hindsight: Hindsight) -> Array:
    """The candidates for which the path exceeds the agent's expectation most (the paper's section 4.2)."""
    tasks = hindsight.candidates
    return tasks[_best(hindsight.n_relabels, hindsight.advantages(tasks, hindsight.returns(tasks)))]


def air(hindsight: Hindsight) -> Array:
    """Approximate inverse reinforcement learning: the candidates for which the path ranks highest among all paths.

    Algorithm 2 of the paper. Percentiles are taken over the new path and those of the cache.
    """
    tasks = hindsight.candidates
    own = hindsight.returns(tasks)
    earlier = hindsight.earlier()
    others = np.empty((0, len(tasks)))
    if earlier is not None:
        others = discounted_returns(hindsight.family, earlier, tasks, hindsight.gamma)
    ranks = percentiles(np.concatenate([own[None], others]), 0)
    second = hindsight.advantages(tasks, own) if hindsight.ties == "advantage" else own
    return tasks[_best(hindsight.n_relabels, ranks, second)]


def her_final(hindsight: Hindsight) -> Array:
    """The task that the path's last transition achieves (Andrychowicz et al., *Hindsight Experience Replay*, 2017)."""
    achieved = _achieving(hindsight.family).achieved_tasks(hindsight.path[-1], hindsight.task.astype(np.float64))
    return np.asarray(achieved)[None]


def her_future(hindsight: Hindsight) -> Array:
    """For each transition, the tasks that transitions of the path from this one on achieve."""
    length = len(hindsight.path.features)
    now = np.broadcast_to(np.arange(length), (hindsight.n_relabels, length))
    later = hindsight.path[hindsight.rng.integers(now, length)]
    return np.asarray(_achieving(hindsight.family).achieved_tasks(later, hindsight.task.astype(np.float64)))


STRATEGIES: dict[str, Strategy] = {
    "none": none,
    "random": random,
    "reward": reward,
    "advantage": advantage,
    "air": air,
    "her_final": her_final,
    "her_future": her_future,
}
"""The strategies by name."""


def _best(count: int, scores: NDArray[np.float64], ties: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
    """Indices of the highest scores, best first; of what is equal in all, the first."""
    keys = (-scores,) if ties is None else (-ties, -scores)
    return np.lexsort(keys)[:count]


def _achieving(family: TaskFamily) -> AchievedTasks:
    if not isinstance(family, AchievedTasks):
        raise ValueError(
            f"strategy her_final and her_future need a family with achieved_tasks, got {type(family).__name__}; "
            "add the method to it, or use air or reward"
        )
    return family
