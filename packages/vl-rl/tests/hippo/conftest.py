"""Small environments with known rewards, ends and parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces


class Line(gymnasium.Env[Any, Any]):
    """Gaussian observations and rewards, and episodes of random length that end in every way.

    `ends` counts them: terminated, truncated, and both in one step.
    """

    def __init__(
        self, *, observation: spaces.Space[Any] | None = None, action: spaces.Space[Any] | None = None, length: int = 40
    ) -> None:
        self.observation_space = observation or spaces.Box(-10, 10, (3,), np.float32)
        self.action_space = action or spaces.Box(-1, 1, (2,), np.float32)
        self.length = length
        self.total = 0.0
        self.ends = [0, 0, 0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._left = int(self.np_random.integers(1, self.length + 1))
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._left -= 1
        reward = float(np.float32(self.np_random.normal()))
        terminated = truncated = False
        if not self._left:
            kind = int(self.np_random.integers(3))
            terminated, truncated = kind != 1, kind != 0
            reward -= 10.0  # what the official code drops
            self.ends[kind] += 1
        self.total += reward
        return self.observation_space.sample(), reward, terminated, truncated, {}


@pytest.fixture
def line() -> Callable[..., Line]:
    """Make such an environment."""
    return Line


@pytest.fixture
def parts() -> spaces.Dict:
    """A robot's own state, and what it sees."""
    return spaces.Dict({"robot": spaces.Box(-1, 1, (3,), np.float32), "goal": spaces.Box(-1, 1, (2,), np.float32)})
