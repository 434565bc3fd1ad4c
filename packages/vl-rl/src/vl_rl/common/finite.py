"""Environments whose observations and rewards are checked before they reach a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from vl_rl.common.mujoco_messages import RoutedMessages


def check_finite(name: str, values: Any, remedy: str, first: int = 0) -> None:
    """Check an array with a row for each environment, or a dict or tuple of such.

    Args:
        name: Name of the values in the message.
        values: The array, dict or tuple; what is not of floating point is not looked at.
        remedy: End of the message.
        first: Number of the first row's environment.

    Raises:
        ValueError: If a value is not finite; the message names its environment.
    """
    if isinstance(values, Mapping):
        for key, part in values.items():
            check_finite(f"{name}[{key!r}]", part, remedy, first)
        return
    if isinstance(values, tuple):
        for index, part in enumerate(values):
            check_finite(f"{name}[{index}]", part, remedy, first)
        return
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
        raise ValueError(
            f"{name} of environment {first + wrong} must be finite, got {np.asarray(values[wrong]).tolist()}{remedy}"
        )


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
        for index in np.flatnonzero(dones).tolist():
            if "terminal_observation" in infos[index]:
                self.check("terminal_observation", _as_row(infos[index]["terminal_observation"]), index)
        self.check("observation", observations)
        self.check("reward", rewards)
        return observations, rewards, dones, infos

    def check(self, name: str, values: Any, first: int = 0) -> None:
        """Check values of the present step, as `check_finite` does."""
        remedy = (
            f" after {self._steps} steps; mend the environment; the model has not been updated with it and can be saved"
        )
        check_finite(name, values, remedy, first)


def _as_row(observation: Any) -> Any:
    """Observation of one environment, as an array or a dict of arrays with one row."""
    if isinstance(observation, Mapping):
        return {key: np.asarray(part)[None] for key, part in observation.items()}
    if isinstance(observation, tuple):
        return tuple(np.asarray(part)[None] for part in observation)
    return np.asarray(observation)[None]


class FiniteInputs(RoutedMessages):
    """Mixin of an algorithm of stable-baselines3: observations and rewards of training are checked to be finite.

    It stands before the algorithm among the bases. The environments stay as they are, so callbacks that compare them
    with others see no difference. An algorithm with its own `collect_rollouts` takes its steps in `checked(env)`.

    Raises:
        ValueError: In training, as `FiniteVecEnv`.
    """

    _checked_env: FiniteVecEnv | None = None

    def collect_rollouts(self, env: VecEnv, *args: Any, **kwargs: Any) -> Any:
        """Collect experience from environments that are checked."""
        return super().collect_rollouts(self.checked(env), *args, **kwargs)  # type: ignore[misc]

    def checked(self, env: VecEnv) -> FiniteVecEnv:
        """Wrap the environments, once for all rollouts, and check the observation that a rollout begins with."""
        if self._checked_env is None or self._checked_env.venv is not env:
            self._checked_env = FiniteVecEnv(env)
            self._checked_env.check("observation", self._last_obs)  # type: ignore[attr-defined]
        return self._checked_env

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_checked_env"]  # type: ignore[misc]
