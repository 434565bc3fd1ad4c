"""An environment whose unfinished episode can be saved, and restored in another process.

Simulators keep states that cannot be written down in general. What can be written down is how a state came about: the
random state before the last reset, and the actions since. A restored environment resets in the same way and plays the
same actions, and is then where the other one was.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, SupportsFloat

import gymnasium
import numpy as np


class ReplayableEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Record what leads to the current state; refuse observations and rewards that are not numbers.

    Restoring is exact for environments that draw their random numbers from ``np_random``, as those of gymnasium do.
    Actions of the current episode are kept in memory.

    Args:
        env: Any environment.

    Example:
        >>> env = ReplayableEnv(gymnasium.make("Pendulum-v1"))
        >>> observation, _ = env.reset(seed=0)
        >>> observation, *_ = env.step(env.action_space.sample())
        >>> other = ReplayableEnv(gymnasium.make("Pendulum-v1"))
        >>> bool((other.import_state(env.export_state()) == observation).all())
        True
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._reset: dict[str, Any] = {}
        self._actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset, and record the seed or the random state that it begins with."""
        state = None if seed is not None else deepcopy(self.unwrapped.np_random.bit_generator.state)
        self._reset = {"seed": seed, "options": deepcopy(options), "random_state": state}
        self._actions = []
        observation, info = self.env.reset(seed=seed, options=options)
        self._check("observation", observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step, and record the action."""
        self._actions.append(deepcopy(action))
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._check("observation", observation)
        self._check("reward", reward)
        return observation, reward, terminated, truncated, info

    def export_state(self) -> dict[str, Any]:
        """What leads to the current state, for `import_state`."""
        return {**deepcopy(self._reset), "actions": deepcopy(self._actions)}

    def import_state(self, state: dict[str, Any]) -> Any:
        """Repeat what led to a state, and return its observation."""
        if state["random_state"] is not None:
            self.unwrapped.np_random.bit_generator.state = state["random_state"]
        observation, _ = self.reset(seed=state["seed"], options=state["options"])
        # `reset` records another, equal state.
        for action in state["actions"]:
            observation, *_ = self.step(action)
        return observation

    def _check(self, name: str, value: Any) -> None:
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for key, part in parts:
            numbers = np.asarray(part)
            if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
                where = f"{name} {key!r}" if key else name
                bad = numbers[~np.isfinite(numbers)].flat[0]
                raise ValueError(
                    f"{where} of {self.spec.id if self.spec else self.unwrapped} must be finite, got {bad} after "
                    f"{len(self._actions)} steps of an episode; repair the environment, or reduce its actions or time "
                    "step"
                )
