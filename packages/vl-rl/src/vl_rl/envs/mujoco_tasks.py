"""Environments with tasks around one of gymnasium's MuJoCo environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv

from vl_rl.common.mujoco_messages import route_mujoco_messages
from vl_rl.hindsight.environment import MultiTaskEnv
from vl_rl.hindsight.tasks import Array, TaskFamily


class MujocoTaskEnv(MultiTaskEnv):
    """A body of gymnasium whose reward is a family's; observations in float32.

    Args:
        family: The family of tasks.
        body: Makes the environment whose steps are taken.
        n_features: Number of features that the family's reward reads.
        horizon: Steps an episode.
        render_mode: ``"rgb_array"``, ``"depth_array"``, ``"human"`` or None; needs MuJoCo's graphics.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        family: TaskFamily,
        body: Callable[[], MujocoEnv],
        n_features: int,
        *,
        horizon: int,
        render_mode: str | None,
    ):
        route_mujoco_messages()
        self._body: Any = body()
        super().__init__(
            family,
            observation=spaces.Box(-np.inf, np.inf, self._body.observation_space.shape),
            features=spaces.Box(-np.inf, np.inf, (n_features,)),
            action=self._body.action_space,
            horizon=horizon,
            render_mode=render_mode,
        )

    def reset_body(self) -> Array:
        """Put the body near its usual stance, by the environment's own seed."""
        observation: Array = self._body.reset(seed=int(self.np_random.integers(2**31)))[0]
        return observation

    def render(self) -> Any:
        """Render with MuJoCo."""
        return self._body.render()

    def close(self) -> None:
        """Release MuJoCo's graphics."""
        self._body.close()
