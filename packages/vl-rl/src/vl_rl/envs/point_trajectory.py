"""PointTrajectory: a point in the plane follows a curve that leaves the origin in some direction.

The environment `pointmass2` of Li, Pinto and Abbeel, *Generalized Hindsight for Reinforcement Learning*, NeurIPS 2020.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from vl_rl.envs.canvas import Canvas
from vl_rl.hindsight.environment import MultiTaskEnv, Outcome
from vl_rl.hindsight.tasks import Array, Transitions

__all__ = ["PointTrajectory", "TrajectoryTasks"]

_WIDTH = 0.05
"""Standard deviation of the reward across the curve."""


class TrajectoryTasks:
    """Curves: a task is (angle, length d, amplitude a).

    In coordinates (x', y') turned by the angle, the curve is y' = a sin(pi x' / d). With alpha = x' / d, the reward of
    a position is alpha times the normal density of y' - a sin(pi alpha) with standard deviation 0.05, and 0 behind the
    origin: it grows along the curve, and vanishes beside it.
    """

    task_space: spaces.Box[Any] = spaces.Box(
        np.array([-np.pi, 0.75, -0.25], dtype=np.float32), np.array([np.pi, 1.0, 0.25], dtype=np.float32)
    )

    def sample_tasks(self, count: int, rng: np.random.Generator) -> Array:
        """Draw angle, length and amplitude uniformly."""
        return rng.uniform(self.task_space.low, self.task_space.high, (count, 3))

    def evaluation_tasks(self) -> Array:
        """25 tasks: angles evenly around, lengths and amplitudes drawn once."""
        tasks = self.sample_tasks(25, np.random.default_rng(0))
        tasks[:, 0] = np.linspace(-np.pi, np.pi, 25, endpoint=False)
        return tasks.astype(np.float32)

    def reward(self, transitions: Transitions, tasks: Array) -> Array:
        """Reward of the positions after the step, ``features`` ``(..., 2)``."""
        x, y = transitions.features[..., 0], transitions.features[..., 1]
        angle, length, amplitude = tasks[..., 0], tasks[..., 1], tasks[..., 2]
        # Constants go into the factors of the tasks, of which there are far fewer than of transitions times tasks.
        around, across = np.pi / length, 1 / (_WIDTH * np.sqrt(2))
        cosine, sine = np.cos(angle), np.sin(angle)
        phase = x * (around * cosine) + y * (around * sine)  # pi alpha
        beside = y * (across * cosine) - x * (across * sine) - (across * amplitude) * np.sin(phase)
        peak = np.log(across / np.sqrt(np.pi) / np.pi)
        return np.asarray(np.maximum(phase, 0.0) * np.exp(peak - beside * beside))

    def achieved_tasks(self, transitions: Transitions, tasks: Array) -> Array:
        """The curve of the same amplitude that ends where the point is, as near as the lengths allow."""
        x, y = transitions.features[..., 0], transitions.features[..., 1]
        length = np.clip(np.hypot(x, y), self.task_space.low[1], self.task_space.high[1])
        return np.stack(np.broadcast_arrays(np.arctan2(y, x), length, tasks[..., 2]), axis=-1)


class PointTrajectory(MultiTaskEnv):
    """A point that moves by a tenth of the action, within the square of side 2; 15 steps an episode.

    The observation is (x, y, t / 15). Rewards are those of :class:`TrajectoryTasks`; 7.98 is the largest at the curve's
    end.

    Args:
        horizon: Steps an episode.
        render_mode: ``"rgb_array"`` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012  # as gymnasium declares it

    def __init__(self, *, horizon: int = 15, render_mode: str | None = None):
        low, high = np.array([-1, -1, 0], dtype=np.float32), np.ones(3, dtype=np.float32)
        super().__init__(
            TrajectoryTasks(),
            observation=spaces.Box(low, high),
            features=spaces.Box(-1, 1, (2,)),
            action=spaces.Box(-1, 1, (2,)),
            horizon=horizon,
            render_mode=render_mode,
        )
        self._position = np.zeros(2)
        self._trace = [self._position]

    def start(self) -> Outcome:
        """Begin at the origin."""
        self._position = np.zeros(2)
        self._trace = [self._position]
        return self._outcome()

    def advance(self, action: Array) -> Outcome:
        """Move the point."""
        self._position = np.clip(self._position + np.clip(action, -1, 1) / 10, -1, 1)
        self._trace.append(self._position)
        return self._outcome()

    def _outcome(self) -> Outcome:
        assert self.horizon is not None
        return Outcome(np.append(self._position, min(self.steps / self.horizon, 1.0)), self._position)

    def render(self) -> Array | None:
        """Draw the curve in gray and the path in color."""
        if self.render_mode is None:
            return None
        angle, length, amplitude = self.task.astype(np.float64)
        along = np.linspace(0, length, 60)
        beside = amplitude * np.sin(np.pi * along / length)
        cosine, sine = np.cos(angle), np.sin(angle)
        curve = np.stack([along * cosine - beside * sine, along * sine + beside * cosine], axis=1)
        canvas = Canvas(1.1)
        canvas.dots(curve, radius=0.02, color=(170, 170, 170))
        canvas.dots(self._trace, radius=0.025, color=(120, 150, 230))
        canvas.dots(self._trace[-1], radius=0.05, color=(30, 60, 180))
        return canvas.image
