"""Families of tasks: one reward function that the environment and the replay buffer share.

A task is a vector z, and the reward r(s, a, s' | z) is known for every z (Li, Pinto and Abbeel, *Generalized Hindsight
for Reinforcement Learning*, NeurIPS 2020, section 3). Whatever a transition was collected for, it can be scored for any
other task. The environment computes its own rewards by the same function from the same numbers, so that the two cannot
drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

__all__ = [
    "AchievedTasks",
    "Array",
    "EndingTasks",
    "LinearRewards",
    "TaskFamily",
    "Transitions",
    "check_tasks",
    "checked_endings",
    "checked_rewards",
]

Array = NDArray[Any]


@dataclass(frozen=True)
class Transitions:
    """Transitions as arrays with one shape of leading dimensions ``(...)``; numbers with a point are float64."""

    observation: Array
    """Observation before the action, ``(..., D)``: ``observation`` of the environment's dictionary."""
    action: Array
    """The action in the environment's units, ``(..., A)``; ``(...)`` where actions are discrete."""
    next_observation: Array
    """Observation after it, ``(..., D)``."""
    features: Array
    """Measurements of this step, ``(..., F)``: ``achieved_goal`` of the next dictionary."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            array = np.asarray(value)
            wide = array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array
            object.__setattr__(self, name, wide)

    def __getitem__(self, index: Any) -> Transitions:
        """Index the leading dimensions of all arrays alike."""
        return Transitions(*(array[index] for array in vars(self).values()))


class TaskFamily(Protocol):
    """A family of tasks with one reward function.

    A family may also have ``terminated`` (:class:`EndingTasks`), ``achieved_tasks`` (:class:`AchievedTasks`, which the
    strategies of HER need) and the two methods of :class:`LinearRewards`, which make relabeling one matrix product.

    Example:
        >>> class Velocities:
        ...     task_space = spaces.Box(-2, 2, (1,))
        ...     def sample_tasks(self, count, rng):
        ...         return rng.uniform(-2, 2, (count, 1))
        ...     def evaluation_tasks(self):
        ...         return np.linspace(-2, 2, 25)[:, None]
        ...     def reward(self, transitions, tasks):
        ...         return -((transitions.features[..., 0] - tasks[..., 0]) ** 2)
    """

    @property
    def task_space(self) -> spaces.Box[Any]:
        """All tasks; one is a vector of shape ``(Z,)``. An attribute of the class will do."""
        ...

    def sample_tasks(self, count: int, rng: np.random.Generator) -> Array:
        """Draw tasks as the environment does at the start of an episode, ``(count, Z)``."""
        ...

    def evaluation_tasks(self) -> Array:
        """Give the fixed tasks on which agents are compared, ``(N, Z)``."""
        ...

    def reward(self, transitions: Transitions, tasks: Array) -> Array:
        """Compute the reward of transitions for tasks.

        The leading dimensions of the two broadcast as in NumPy: with transitions of shape ``(N, 1, ...)`` and tasks
        ``(K, Z)`` the result is ``(N, K)``. Index the last dimension (``tasks[..., 0]``), and this holds by itself.
        """
        ...


@runtime_checkable
class EndingTasks(Protocol):
    """Families some of whose tasks end an episode when they are solved."""

    def terminated(self, transitions: Transitions, tasks: Array) -> Array:
        """Say where a transition ends the episode; booleans of the shape that ``reward`` has."""
        ...


@runtime_checkable
class AchievedTasks(Protocol):
    """Families in which a transition shows what task it would have solved."""

    def achieved_tasks(self, transitions: Transitions, tasks: Array) -> Array:
        """Give the task that a transition achieves, all else as in ``tasks``; both ``(..., Z)``."""
        ...


@runtime_checkable
class LinearRewards(Protocol):
    """Families whose reward is an inner product of features and weights."""

    def linear_features(self, transitions: Transitions) -> Array:
        """Compute the transitions' factor, ``(..., C)``."""
        ...

    def linear_weights(self, tasks: Array) -> Array:
        """Compute the tasks' factor, ``(..., C)``."""
        ...


def check_tasks(tasks: object, space: spaces.Box[Any], name: str = "tasks") -> Array:
    """Give tasks as an array ``(N, Z)`` of the space's type.

    Raises:
        ValueError: If the shape is another one, or a task lies outside the space; the message names the first.
    """
    array = np.asarray(tasks, dtype=space.dtype)
    if array.ndim != 2 or array.shape[1:] != space.shape:
        advice = "; put a single task into a list" if array.shape == space.shape else ""
        raise ValueError(f"{name} must have shape (number of tasks, {space.shape[0]}), got {array.shape}{advice}")
    inside = ((array >= space.low) & (array <= space.high)).all(axis=1)
    if not inside.all():
        first = int(np.flatnonzero(~inside)[0])
        raise ValueError(
            f"{name} must lie in the task space between {space.low.tolist()} and {space.high.tolist()}, "
            f"got {array[first].tolist()} at index {first}; draw tasks with the family's sample_tasks"
        )
    return array


def checked_rewards(family: TaskFamily, transitions: Transitions, tasks: Array) -> NDArray[np.float64]:
    """Compute ``family.reward`` in float64 and check what comes back.

    Raises:
        ValueError: If the result has another shape than the broadcast leading dimensions, or is not finite.
    """
    rewards = _checked(family.reward(transitions, tasks.astype(np.float64)), transitions, tasks, family, "reward")
    rewards = rewards.astype(np.float64, copy=False)
    if not np.isfinite(rewards).all():
        # The sum would do for a glance, but the message should show which task it was.
        where = np.argwhere(~np.isfinite(rewards))[0]
        task = np.broadcast_to(tasks, (*rewards.shape, tasks.shape[-1]))[tuple(where)]
        raise ValueError(
            f"{type(family).__name__}.reward must be finite, got {rewards[tuple(where)]} for the task {task.tolist()}; "
            "guard divisions and logarithms in it, and look for NaN in the observations"
        )
    return rewards


def checked_endings(family: EndingTasks, transitions: Transitions, tasks: Array) -> NDArray[np.bool_]:
    """Compute ``family.terminated`` and check the shape of what comes back.

    Raises:
        ValueError: If the result has another shape than the broadcast leading dimensions.
    """
    ends = family.terminated(transitions, tasks.astype(np.float64))
    return _checked(ends, transitions, tasks, family, "terminated").astype(np.bool_, copy=False)


def _checked(result: object, transitions: Transitions, tasks: Array, family: object, method: str) -> Array:
    array = np.asarray(result)
    expected = np.broadcast_shapes(transitions.features.shape[:-1], tasks.shape[:-1])
    if array.shape != expected:
        raise ValueError(
            f"{type(family).__name__}.{method} must return an array of shape {expected} for features of shape "
            f"{transitions.features.shape} and tasks of shape {tasks.shape}, got {array.shape}; index the last "
            "dimension only, as in tasks[..., 0], so that the leading ones broadcast"
        )
    return array
