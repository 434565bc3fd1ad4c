"""PointReacher: reach a goal, save energy and keep away from an obstacle, weighted by the task.

The environment `pointreacherobs` of Li, Pinto and Abbeel, *Generalized Hindsight for Reinforcement Learning*, NeurIPS
2020.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from vl_rl.envs.canvas import Canvas
from vl_rl.hindsight.environment import MultiTaskEnv, Outcome
from vl_rl.hindsight.tasks import Array, Transitions

__all__ = ["PointReacher", "ReacherTasks"]

_SPARSE_WIDTH = 0.08
_NEAR, _FAR = 0.15, 0.3
"""Smallest and largest distance of goal and obstacle from the origin."""


class ReacherTasks:
    """Tasks (u, v, goal angle, goal radius, obstacle angle, obstacle radius).

    The weights of the three terms are the point of the unit sphere with azimuth 2 pi u and polar angle
    arccos(2v - 1); none is negative. The terms are 0.2 - d for a distance d to the goal (or
    exp(-d^2 / 0.08^2) if ``sparse``), minus the action's norm, and log10(distance to the obstacle + 0.01) / 5.

    Args:
        sparse: True for the narrow bump around the goal.
    """

    task_space: spaces.Box[Any] = spaces.Box(
        np.array([0, 0.5, -np.pi, _NEAR, -np.pi, _NEAR], dtype=np.float32),
        np.array([0.25, 1, np.pi, _FAR, np.pi, _FAR], dtype=np.float32),
    )

    def __init__(self, *, sparse: bool = False):
        self.sparse = sparse

    def sample_tasks(self, count: int, rng: np.random.Generator) -> Array:
        """Draw all six numbers uniformly."""
        return rng.uniform(self.task_space.low, self.task_space.high, (count, 6))

    def evaluation_tasks(self) -> Array:
        """25 tasks that were drawn once."""
        return self.sample_tasks(25, np.random.default_rng(0)).astype(np.float32)

    def reward(self, transitions: Transitions, tasks: Array) -> Array:
        """Weighted sum of the terms; ``features`` are the position after the step and the action's norm."""
        x, y, effort = np.moveaxis(transitions.features, -1, 0)
        azimuth, height = 2 * np.pi * tasks[..., 0], 2 * tasks[..., 1] - 1
        # On the sphere's equator rounding may leave a height above one by the last digit.
        side = np.sqrt(np.maximum(1 - height**2, 0))
        distance, gap = (
            np.hypot(x - tasks[..., i + 1] * np.cos(tasks[..., i]), y - tasks[..., i + 1] * np.sin(tasks[..., i]))
            for i in (2, 4)
        )
        near = np.exp(-((distance / _SPARSE_WIDTH) ** 2)) if self.sparse else 0.2 - distance
        safety = np.log10(gap + 0.01) / 5
        return np.asarray(side * (np.cos(azimuth) * near - np.sin(azimuth) * effort) + height * safety)

    def achieved_tasks(self, transitions: Transitions, tasks: Array) -> Array:
        """The goal where the point is, as near as the goals' radii allow; all else as it was."""
        x, y = transitions.features[..., 0], transitions.features[..., 1]
        radius = np.clip(np.hypot(x, y), np.float32(_NEAR), np.float32(_FAR))
        u, v, angle, _, *obstacle = np.moveaxis(tasks, -1, 0)
        del angle
        return np.stack(np.broadcast_arrays(u, v, np.arctan2(y, x), radius, *obstacle), axis=-1)


class PointReacher(MultiTaskEnv):
    """A point whose velocity changes by a twentieth of the action, up to 0.25 in each direction; 20 steps an episode.

    The observation is (x, y, vx, vy, t / 20). Rewards are those of :class:`ReacherTasks`.

    Args:
        sparse: True for the sparse reward of the goal.
        horizon: Steps an episode.
        render_mode: ``"rgb_array"`` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012  # as gymnasium declares it

    def __init__(self, *, sparse: bool = False, horizon: int = 20, render_mode: str | None = None):
        reach = 0.25 * horizon
        high = np.array([reach, reach, 0.25, 0.25, 1], dtype=np.float32)
        super().__init__(
            ReacherTasks(sparse=sparse),
            observation=spaces.Box(np.append(-high[:4], np.float32(0)), high),
            features=spaces.Box(
                np.array([-reach, -reach, 0], dtype=np.float32), np.array([reach, reach, 1.5], dtype=np.float32)
            ),
            action=spaces.Box(-1, 1, (2,)),
            horizon=horizon,
            render_mode=render_mode,
        )
        self._position, self._velocity = np.zeros(2), np.zeros(2)

    def start(self) -> Outcome:
        """Begin at rest in the origin."""
        self._position, self._velocity = np.zeros(2), np.zeros(2)
        return self._outcome(0.0)

    def advance(self, action: Array) -> Outcome:
        """Push the point."""
        action = np.clip(action, -1, 1)
        self._velocity = np.clip(self._velocity + action / 20, -0.25, 0.25)
        self._position = self._position + self._velocity
        return self._outcome(float(np.linalg.norm(action)))

    def _outcome(self, effort: float) -> Outcome:
        assert self.horizon is not None
        now = min(self.steps / self.horizon, 1.0)
        return Outcome(np.concatenate([self._position, self._velocity, [now]]), np.append(self._position, effort))

    def render(self) -> Array | None:
        """Draw the goal in green, the obstacle in red and the point in blue."""
        if self.render_mode is None:
            return None
        canvas = Canvas(0.6)
        for (angle, radius), color in zip(self.task[2:].reshape(2, 2), [(60, 160, 80), (200, 60, 60)], strict=True):
            canvas.dots((radius * np.cos(angle), radius * np.sin(angle)), radius=0.04, color=color)
        canvas.dots(self._position, radius=0.025, color=(30, 60, 180))
        return canvas.image
