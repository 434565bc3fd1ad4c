"""An environment whose unfinished episode can be saved, and restored in another process.

Simulators keep states that cannot be written down in general. What can be written down is how a state came about: the
random state before the last reset, and the actions since. A restored environment resets in the same way and plays the
same actions, and is then where the other one was.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, SupportsFloat

import gymnasium


class ReplayableEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Record what leads to the current state.

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
        self._observation: Any = None
        self._actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset, and record the seed or the random state that it begins with."""
        state = None if seed is not None else deepcopy(self.unwrapped.np_random.bit_generator.state)
        self._reset = {"seed": seed, "options": deepcopy(options), "random_state": state}
        self._actions = []
        observation, info = self.env.reset(seed=seed, options=options)
        self._observation = deepcopy(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step, and record the action."""
        self._actions.append(deepcopy(action))
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._observation = deepcopy(observation)
        return observation, reward, terminated, truncated, info

    def export_state(self) -> dict[str, Any]:
        """Record of how the current state came about, for `import_state`, and the observation that it gave."""
        return {**deepcopy(self._reset), "actions": deepcopy(self._actions), "observation": self._observation}

    def import_state(self, state: dict[str, Any]) -> Any:
        """Repeat what led to a state, and return its observation."""
        if state["random_state"] is not None:
            self.unwrapped.np_random.bit_generator.state = state["random_state"]
        observation, _ = self.reset(seed=state["seed"], options=state["options"])
        # `reset` records another, equal state.
        for action in state["actions"]:
            observation, *_ = self.step(action)
        return observation
