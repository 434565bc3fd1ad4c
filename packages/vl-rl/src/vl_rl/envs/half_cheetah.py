"""HalfCheetahMultiObjective: gymnasium's HalfCheetah, rewarded for a mixture of four things.

The environment `halfcheetahhard` of Li, Pinto and Abbeel, *Generalized Hindsight for Reinforcement Learning*, NeurIPS
2020.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv

from vl_rl.envs.mujoco_tasks import MujocoTaskEnv
from vl_rl.hindsight.environment import Outcome
from vl_rl.hindsight.tasks import Array, Transitions

__all__ = ["HalfCheetahMultiObjective", "ObjectiveTasks"]


class ObjectiveTasks:
    """Unit vectors z of four weights; the reward is z times (speed, -0.1 |a|^2, height, pitch rate).

    The weights of effort and height are not negative, those of speed and pitch rate have either sign.
    """

    task_space: spaces.Box[Any] = spaces.Box(np.array([-1, 0, 0, -1], dtype=np.float32), np.ones(4, dtype=np.float32))

    def sample_tasks(self, count: int, rng: np.random.Generator) -> Array:
        """Draw directions uniformly on the sphere, and reflect two of the weights."""
        weights = rng.standard_normal((count, 4))
        weights[:, 1:3] = np.abs(weights[:, 1:3])
        return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True))

    def evaluation_tasks(self) -> Array:
        """25 tasks that were drawn once."""
        return self.sample_tasks(25, np.random.default_rng(0)).astype(np.float32)

    def reward(self, transitions: Transitions, tasks: Array) -> Array:
        """Inner product of features and task."""
        return np.asarray((transitions.features * tasks).sum(-1))

    def linear_features(self, transitions: Transitions) -> Array:
        """The features themselves."""
        return transitions.features

    def linear_weights(self, tasks: Array) -> Array:
        """The tasks themselves."""
        return tasks


class HalfCheetahMultiObjective(MujocoTaskEnv):
    """HalfCheetah-v5 with the tasks of :class:`ObjectiveTasks`; 1,000 steps an episode, observations in float32.

    Args:
        horizon: Steps an episode.
        render_mode: ``"rgb_array"``, ``"depth_array"``, ``"human"`` or None; needs MuJoCo's graphics.
        **body_options: Arguments of gymnasium's ``HalfCheetahEnv``, such as ``width`` and ``reset_noise_scale``.
    """

    def __init__(self, *, horizon: int = 1000, render_mode: str | None = None, **body_options: Any):
        super().__init__(
            ObjectiveTasks(),
            lambda: HalfCheetahEnv(render_mode=render_mode, **body_options),
            4,
            horizon=horizon,
            render_mode=render_mode,
        )

    def start(self) -> Outcome:
        """Begin near the usual stance."""
        observation = self.reset_body()
        return Outcome(observation, self._features(0.0, 0.0))

    def advance(self, action: Array) -> Outcome:
        """Take a step of HalfCheetah."""
        observation, _, _, _, info = self._body.step(action)
        return Outcome(observation, self._features(info["x_velocity"], info["reward_ctrl"]))

    def _features(self, speed: float, effort: float) -> Array:
        return np.array([speed, effort, self._body.data.qpos[1], self._body.data.qvel[2]])
