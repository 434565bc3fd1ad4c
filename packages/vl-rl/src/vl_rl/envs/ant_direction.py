"""AntDirection: gymnasium's Ant, rewarded for speed within 15 degrees of a direction.

The environment `antdirectionnewsparse` of Li, Pinto and Abbeel, *Generalized Hindsight for Reinforcement Learning*,
NeurIPS 2020, without its division by the speed, which is undefined at rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco.ant_v5 import AntEnv

from vl_rl.envs.mujoco_tasks import MujocoTaskEnv
from vl_rl.hindsight.environment import Outcome
from vl_rl.hindsight.tasks import Array, Transitions

__all__ = ["AntDirection", "DirectionTasks"]

_COSINE = 0.9659
"""The reward's cone: cos(15 degrees)."""


class DirectionTasks:
    """Directions: a task is an angle; speed within 15 degrees of it counts, plus what every direction shares."""

    task_space: spaces.Box[Any] = spaces.Box(-np.pi, np.pi, (1,))

    def sample_tasks(self, count: int, rng: np.random.Generator) -> Array:
        """Draw angles uniformly."""
        return rng.uniform(self.task_space.low, self.task_space.high, (count, 1))

    def evaluation_tasks(self) -> Array:
        """25 directions, evenly around."""
        return np.linspace(-np.pi, np.pi, 25, endpoint=False, dtype=np.float32)[:, None]

    def reward(self, transitions: Transitions, tasks: Array) -> Array:
        """Speed within the cone, plus the third feature; the first two are the velocity."""
        vx, vy, shared = np.moveaxis(transitions.features, -1, 0)
        speed = np.hypot(vx, vy)
        along = vx * np.cos(tasks[..., 0]) + vy * np.sin(tasks[..., 0])
        return np.asarray(np.where(along > _COSINE * speed, speed, 0.0) + shared)

    def achieved_tasks(self, transitions: Transitions, tasks: Array) -> Array:
        """The direction in which the body moves."""
        angle = np.arctan2(transitions.features[..., 1], transitions.features[..., 0])
        return np.broadcast_arrays(angle, tasks[..., 0])[0][..., None]


class AntDirection(MujocoTaskEnv):
    """Ant-v5 with the tasks of :class:`DirectionTasks`; up to 1,000 steps an episode, observations in float32.

    The reward that all directions share is 1 - 0.5 |a|^2 - 0.0005 |contact forces|^2; an ant that falls ends the
    episode. The observation has no contact forces: 27 numbers.

    Args:
        horizon: Steps an episode.
        render_mode: ``"rgb_array"``, ``"depth_array"``, ``"human"`` or None; needs MuJoCo's graphics.
        **body_options: Arguments of gymnasium's ``AntEnv``, such as ``width`` and ``healthy_z_range``.
    """

    def __init__(self, *, horizon: int = 1000, render_mode: str | None = None, **body_options: Any):
        options = {"include_cfrc_ext_in_observation": False, **body_options}
        super().__init__(
            DirectionTasks(),
            lambda: AntEnv(render_mode=render_mode, **options),
            3,
            horizon=horizon,
            render_mode=render_mode,
        )

    def start(self) -> Outcome:
        """Begin near the usual stance."""
        return Outcome(self.reset_body(), np.zeros(3))

    def advance(self, action: Array) -> Outcome:
        """Take a step of Ant."""
        observation, _, fallen, _, info = self._body.step(action)
        shared = info["reward_survive"] + info["reward_ctrl"] + info["reward_contact"]
        return Outcome(observation, np.array([info["x_velocity"], info["y_velocity"], shared]), bool(fallen))
