"""Environments with a family of tasks: one task an episode, seen by the agent, rewarded by the family."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from vl_rl.hindsight.tasks import (
    Array,
    EndingTasks,
    TaskFamily,
    Transitions,
    check_tasks,
    checked_endings,
    checked_rewards,
)

__all__ = ["MultiTaskEnv", "Outcome"]

Observation = dict[str, Array]


class Outcome(NamedTuple):
    """Outcome of one step of an environment, before any task is asked."""

    observation: Array
    """Of the space ``observation``."""
    features: Array
    """Measurements of this step, for the reward; of the space ``features``."""
    terminated: bool = False
    """True if the episode ends for every task, as when a robot falls."""


class MultiTaskEnv(gymnasium.Env[Observation, Any]):
    """Base of environments in which a task is drawn at each reset.

    Observations are dictionaries: ``observation`` is the state, ``achieved_goal`` what was measured in the last step
    (the features from which rewards are computed) and ``desired_goal`` the task. Subclasses implement ``start`` and
    ``advance``; rewards, the end of solved tasks and the time limit are here.

    Args:
        family: The family of tasks.
        observation: Space of the state.
        features: Space of what is measured in each step.
        action: Space of the actions.
        horizon: Steps until an episode is truncated; None for no limit.
        render_mode: One of ``metadata["render_modes"]``, or None.

    Raises:
        ValueError: If the horizon is not positive, the render mode is unknown, or a task of the evaluation lies outside
            the task space.

    Example:
        >>> env = gymnasium.make("vl_rl/PointTrajectory-v0")
        >>> task = env.unwrapped.task_family.evaluation_tasks()[3]
        >>> observation, _ = env.reset(options={"task": task})
        >>> bool((observation["desired_goal"] == task).all())
        True
    """

    observation_space: spaces.Dict[Any]  # type: ignore[assignment]

    def __init__(
        self,
        family: TaskFamily,
        *,
        observation: spaces.Box[Any],
        features: spaces.Box[Any],
        action: spaces.Space[Any],
        horizon: int | None,
        render_mode: str | None = None,
    ):
        if horizon is not None and horizon < 1:
            raise ValueError(f"horizon must be a positive number of steps or None, got {horizon}")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode must be one of {self.metadata['render_modes']} or None, got {render_mode!r}")
        check_tasks(family.evaluation_tasks(), family.task_space, "evaluation_tasks")
        self.task_family = family
        self.observation_space = spaces.Dict(
            {"observation": observation, "achieved_goal": features, "desired_goal": family.task_space}
        )
        self.action_space = action
        self.horizon = horizon
        self.render_mode = render_mode
        self.task: Array = family.evaluation_tasks()[0].astype(family.task_space.dtype)
        self.steps = 0
        self._queue: deque[Array] = deque()
        self._cycle = False
        self._observation: Observation = {}

    @abstractmethod
    def start(self) -> Outcome:
        """Begin an episode with randomness from ``self.np_random``; ``features`` are those of standing still."""

    @abstractmethod
    def advance(self, action: Any) -> Outcome:
        """Take one step; ``self.steps`` counts it already."""

    def set_tasks(self, tasks: object, *, cycle: bool = False) -> None:
        """Set the tasks of the coming episodes; through a VecEnv, ``env_method("set_tasks", …)``.

        Args:
            tasks: Tasks ``(N, Z)``, one for each coming reset, after which the environment draws tasks again; None
                forgets those that are still to come.
            cycle: True to begin again with the first one instead.

        Raises:
            ValueError: If the shape is wrong or a task lies outside the task space; nothing changes then.
        """
        self._queue = deque() if tasks is None else deque(check_tasks(tasks, self.task_family.task_space))
        self._cycle = cycle

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of all later randomness.
            options: ``{"task": z}`` chooses this episode's task. A VecEnv resets without it at the end of an episode;
                use :meth:`set_tasks` there.
        """
        super().reset(seed=seed)
        space = self.task_family.task_space
        if options and "task" in options:
            task = np.asarray(options["task"])
            if task.shape != space.shape:
                raise ValueError(f"options['task'] must be one task of shape {space.shape}, got shape {task.shape}")
            self.task = check_tasks(task[None], space, "options['task']")[0]
        elif self._queue:
            self.task = self._queue.popleft()
            if self._cycle:
                self._queue.append(self.task)
        else:
            drawn = self.task_family.sample_tasks(1, self.np_random)
            self.task = check_tasks(drawn, space, f"{type(self.task_family).__name__}.sample_tasks(1, rng)")[0]
        self.steps = 0
        self._observation = self._dictionary(self.start())
        return dict(self._observation), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one step and reward it for the current task."""
        action = np.asarray(action, dtype=self.action_space.dtype)
        self.steps += 1
        outcome = self.advance(action)
        before, self._observation = self._observation, self._dictionary(outcome)
        # The numbers as the agent and its replay buffer see them, so that a relabeled reward is the very same.
        transition = Transitions(
            before["observation"], action, self._observation["observation"], self._observation["achieved_goal"]
        )
        reward = float(checked_rewards(self.task_family, transition, self.task))
        info: dict[str, Any] = {}
        terminated = outcome.terminated
        if isinstance(self.task_family, EndingTasks):
            solved = bool(checked_endings(self.task_family, transition, self.task))
            terminated, info["is_success"] = terminated or solved, solved
        truncated = self.horizon is not None and self.steps >= self.horizon
        return dict(self._observation), reward, terminated, truncated, info

    def _dictionary(self, outcome: Outcome) -> Observation:
        values = (outcome.observation, outcome.features, self.task)
        names = ("observation", "achieved_goal", "desired_goal")
        return {
            name: np.array(value, dtype=self.observation_space[name].dtype)
            for name, value in zip(names, values, strict=True)
        }
