"""Values that are not finite are refused where they come from."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv
from vl_rl.common.finite import FiniteVecEnv, check_finite


class BrokenAtTheEnd(gymnasium.Env):
    """The last observation of an episode of three steps holds NaN; a vector of environments hides it in `infos`."""

    observation_space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)})
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3
        return {"a": np.zeros(2, np.float32), "b": 0}, {}

    def step(self, action):
        self.left -= 1
        value = np.nan if self.left == 0 else 0.5
        return {"a": np.array([0, value], np.float32), "b": 1}, 1.0, False, self.left == 0, {}


def test_the_last_observation_of_an_episode_is_checked_too():
    env = FiniteVecEnv(DummyVecEnv([BrokenAtTheEnd]))
    env.reset()
    for _ in range(2):
        env.step(np.array([0]))
    message = r"^terminal_observation\['a'\] of environment 0 must be finite, got \[0.0, nan\] after 3 steps; mend"
    with pytest.raises(ValueError, match=message):
        env.step(np.array([0]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0, np.inf]), "x of environment 4 must be finite, got inf; stop"),
        ((np.zeros(2), np.array([[1, np.nan], [0, 0]])), r"x\[1\] of environment 3 must be finite, got \[1.0, nan\]"),
        ({"a": np.array([[np.nan]])}, r"x\['a'\] of environment 3"),
    ],
    ids=["array", "tuple", "dict"],
)
def test_the_message_names_the_part_and_the_environment(values, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        check_finite("x", values, "; stop", first=3)


def test_finite_values_and_integers_pass():
    check_finite("x", {"a": np.ones((2, 3)), "b": np.array([1, 2])}, "; stop")
