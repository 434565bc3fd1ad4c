"""Small families of tasks and environments whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from vl_rl.envs.half_cheetah import ObjectiveTasks
from vl_rl.envs.point_trajectory import TrajectoryTasks
from vl_rl.hindsight.environment import MultiTaskEnv, Outcome
from vl_rl.hindsight.returns import Paths
from vl_rl.hindsight.tasks import Transitions


class Targets:
    """Positions on a line: the reward is 1 within 0.5 of the task, where the episode ends, and 0 elsewhere."""

    task_space = spaces.Box(-10, 10, (1,))

    def sample_tasks(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(-4, 5, (count, 1)).astype(np.float32)

    def evaluation_tasks(self) -> np.ndarray:
        return np.arange(-4, 5, dtype=np.float32)[:, None]

    def terminated(self, transitions: Transitions, tasks: np.ndarray) -> np.ndarray:
        return np.abs(transitions.features[..., 0] - tasks[..., 0]) < 0.5

    def reward(self, transitions: Transitions, tasks: np.ndarray) -> np.ndarray:
        return self.terminated(transitions, tasks).astype(np.float64)

    def achieved_tasks(self, transitions: Transitions, tasks: np.ndarray) -> np.ndarray:
        return transitions.features + 0 * tasks


class Line(MultiTaskEnv):
    """A walk on a line; discrete actions go left and right, continuous ones by the action in -2..2."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, family: Any = None, *, horizon: int | None = 8, discrete: bool = False):
        super().__init__(
            Targets() if family is None else family,
            observation=spaces.Box(-99, 99, (1,)),
            features=spaces.Box(-99, 99, (1,)),
            action=spaces.Discrete(2) if discrete else spaces.Box(-2, 2, (1,)),
            horizon=horizon,
        )
        self.position = np.zeros(1)

    def start(self) -> Outcome:
        self.position = np.zeros(1)
        return Outcome(self.position, self.position)

    def advance(self, action: Any) -> Outcome:
        step = 2.0 * int(action) - 1 if isinstance(self.action_space, spaces.Discrete) else action
        self.position = self.position + step
        return Outcome(self.position, self.position)


FAMILIES: dict[str, Any] = {"curves": TrajectoryTasks(), "linear": ObjectiveTasks(), "ending": Targets()}
FEATURES = {"curves": 2, "linear": 4, "ending": 1}


def random_paths(name: str, lengths: list[int], rng: np.random.Generator) -> Paths:
    """Paths of random numbers; the linear ones are walks, so that some targets are met."""
    count = sum(lengths)
    features = rng.uniform(-1, 1, (count, FEATURES[name]))
    if name == "ending":
        features = features * 4
    before, after, action = rng.standard_normal((3, count, 2))
    return Paths(Transitions(before, action, after, features), np.array(lengths))
