"""Discounted returns of paths for tasks, and the percentile of one path among others.

Generalized Hindsight (Li, Pinto and Abbeel, NeurIPS 2020, sections 4.1 and 4.2) compares paths by the return
G(path, task) = sum over t of gamma^t r(s_t, a_t, s_{t+1} | task). `returns_by_loop` is that sentence as a double loop
and defines what is right; `discounted_returns` computes the same for all paths and tasks at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vl_rl.hindsight.tasks import (
    Array,
    EndingTasks,
    LinearRewards,
    TaskFamily,
    Transitions,
    checked_endings,
    checked_rewards,
)

__all__ = ["Paths", "discounted_returns", "percentiles", "returns_by_loop"]

_CHUNK = 2**14
"""Rewards in one call of the family: as many as stay in a core's cache, while one path is never divided."""


@dataclass(frozen=True)
class Paths:
    """Paths of any lengths, one after the other."""

    transitions: Transitions
    """All transitions, ``(N,)``."""
    lengths: NDArray[np.int64]
    """Transitions of each path, ``(P,)``, all positive; their sum is N."""


def returns_by_loop(family: TaskFamily, paths: Paths, tasks: Array, gamma: float) -> NDArray[np.float64]:
    """Compute what :func:`discounted_returns` does, one path and one task at a time."""
    result = np.empty((len(paths.lengths), len(tasks)))
    begin = 0
    for i, length in enumerate(paths.lengths.tolist()):
        path = paths.transitions[begin : begin + length]
        for j, task in enumerate(tasks.astype(np.float64)):
            rewards = gamma ** np.arange(length) * family.reward(path, task)
            if isinstance(family, EndingTasks) and (ends := np.flatnonzero(family.terminated(path, task))).size:
                rewards = rewards[: ends[0] + 1]
            result[i, j] = rewards.sum()
        begin += length
    return result


def discounted_returns(family: TaskFamily, paths: Paths, tasks: Array, gamma: float) -> NDArray[np.float64]:
    """Discounted return of each path for each task.

    Where the family says that a task ends an episode, a path's return ends with its first such transition. A family
    with linear rewards and no such end takes one matrix product; any other one evaluates its rewards in portions.

    Args:
        family: The family of tasks.
        paths: P paths.
        tasks: K tasks, ``(K, Z)``.
        gamma: Discount factor in 0..1.

    Returns:
        Returns ``(P, K)``.

    Raises:
        ValueError: If the family's methods return another shape, or rewards are not finite.

    Example:
        >>> family = TrajectoryTasks()
        >>> discounted_returns(family, paths, family.evaluation_tasks(), gamma=0.9).shape
        (500, 25)
    """
    starts = np.cumsum(paths.lengths) - paths.lengths
    steps = np.arange(paths.lengths.sum()) - np.repeat(starts, paths.lengths)
    discounts = gamma ** steps.astype(np.float64)
    ending = isinstance(family, EndingTasks)
    if isinstance(family, LinearRewards) and not ending:
        features = family.linear_features(paths.transitions) * discounts[:, None]
        weights = family.linear_weights(tasks.astype(np.float64))
        linear: NDArray[np.float64] = np.add.reduceat(features, starts, axis=0) @ weights.T
        if not np.isfinite(linear).all():
            checked_rewards(family, paths.transitions[:, None], tasks)  # says for which task
        return linear
    result = np.empty((len(starts), len(tasks)))
    for first, last in _portions(paths.lengths, len(tasks)):
        begin, end = starts[first], starts[last - 1] + paths.lengths[last - 1]
        part = paths.transitions[begin:end, None]
        rewards = checked_rewards(family, part, tasks)
        if isinstance(family, EndingTasks):
            ends = checked_endings(family, part, tasks)
            # Ends before each transition, counted from the portion's beginning, and again from the path's.
            before: NDArray[np.int64] = np.cumsum(ends, axis=0) - ends
            own: NDArray[np.int64] = before - np.repeat(
                before[starts[first:last] - begin], paths.lengths[first:last], axis=0
            )
            rewards = rewards * (own == 0)
        if (lengths := paths.lengths[first:last]).min() == lengths.max():
            equal = rewards.reshape(len(lengths), -1, len(tasks))
            result[first:last] = discounts[begin : begin + lengths[0]] @ equal
        else:
            result[first:last] = np.add.reduceat(
                rewards * discounts[begin:end, None], starts[first:last] - begin, axis=0
            )
    return result


def percentiles(returns: NDArray[np.float64], path: int) -> NDArray[np.float64]:
    """Rank of one path among all for each task, as a share of 0..1.

    Equal returns share their mean rank, so that a path without any reward is not ranked by the order of arrival. With
    ties the value is the mean of the shares of paths with a lower return and with a return no higher.

    Args:
        returns: Returns ``(P, K)`` of all paths.
        path: Row of the path.

    Returns:
        Percentiles ``(K,)``.
    """
    own = returns[path]
    return np.asarray(((returns < own).mean(axis=0) + (returns <= own).mean(axis=0)) / 2)


def _portions(lengths: NDArray[np.int64], tasks: int) -> list[tuple[int, int]]:
    """First and last-plus-one path of each portion of about ``_CHUNK`` rewards."""
    portion = np.cumsum(lengths) * tasks // _CHUNK
    borders = [0, *(np.flatnonzero(np.diff(portion)) + 1).tolist(), len(lengths)]
    return list(pairwise(borders))
