"""Environments whose observations and rewards are checked before they reach a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn


class FiniteVecEnv(VecEnvWrapper):
    """Refuse observations and rewards that are not finite, before a step of training can spoil the weights.

    Args:
        venv: The environments.

    Raises:
        ValueError: At the step where a value is NaN or infinite; the message names it and its environment.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self._steps = 0

    def reset(self) -> VecEnvObs:
        """Reset all environments."""
        observations = self.venv.reset()
        self.check("observation", observations)
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step of all environments."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self._steps += 1
        self.check("observation", observations)
        self.check("reward", rewards)
        return observations, rewards, dones, infos

    def check(self, name: str, values: Any) -> None:
        """Check an array with a row for each environment, or a dict or tuple of such.

        Raises:
            ValueError: If a value is not finite.
        """
        if isinstance(values, Mapping):
            for key, part in values.items():
                self.check(f"{name}[{key!r}]", part)
            return
        if isinstance(values, tuple):
            for index, part in enumerate(values):
                self.check(f"{name}[{index}]", part)
            return
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            wrong = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0]
            raise ValueError(
                f"{name} of environment {wrong} must be finite, got {values[wrong]} after {self._steps} steps; mend "
                "the environment; the model has not been updated with it and can be saved"
            )


class FiniteInputs:
    """Mixin of an algorithm of stable-baselines3: observations and rewards of training are checked to be finite.

    It stands before the algorithm among the bases. The environments stay as they are, so callbacks that compare them
    with others see no difference.

    Raises:
        ValueError: In training, as `FiniteVecEnv`.
    """

    _checked_env: FiniteVecEnv | None = None

    def collect_rollouts(self, env: VecEnv, *args: Any, **kwargs: Any) -> Any:
        """Collect experience from environments that are checked."""
        if self._checked_env is None or self._checked_env.venv is not env:
            self._checked_env = FiniteVecEnv(env)
            self._checked_env.check("observation", self._last_obs)  # type: ignore[attr-defined]
        return super().collect_rollouts(self._checked_env, *args, **kwargs)  # type: ignore[misc]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_checked_env"]  # type: ignore[misc]
