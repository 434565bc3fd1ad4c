"""Environments for training and evaluation, made from an id."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize

from vl_rl.common.finite import FiniteVecEnv
from vl_rl.common.mujoco_messages import route_mujoco_messages
from vl_rl.common.simulators import find_environments
from vl_rl.training.replaying import ReplayableEnv

Wrapper = Callable[[gymnasium.Env[Any, Any]], gymnasium.Env[Any, Any]]


def make_environment(name: str, *, wrappers: Sequence[Wrapper] = (), **options: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment, with the returns of its episodes in `info`.

    Args:
        name: An id, such as ``"Pendulum-v1"``.
        wrappers: Functions to apply to it, the innermost first.
        options: Arguments of the environment, such as ``render_mode``.

    Raises:
        ValueError: If there is no environment of that id, or it refuses the options.
        ModuleNotFoundError: If it needs a package that is not installed.
    """
    find_environments(name)
    route_mujoco_messages()
    try:
        env = gymnasium.make(name, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        raise ModuleNotFoundError(f"{name} needs a package that is not installed: {error}") from error
    except gymnasium.error.Error as error:
        close = difflib.get_close_matches(name, gymnasium.registry, n=1)
        advice = f"did you mean {close[0]}?" if close else "see gymnasium.pprint_registry()"
        raise ValueError(f"env must be the id of an environment, got {name!r} ({error}); {advice}") from error
    if name.startswith("dm_control/"):
        env = gymnasium.wrappers.FlattenObservation(env)
    for wrapper in wrappers:
        env = wrapper(env)
    return Monitor(env)


def make_vector(
    name: str,
    count: int = 1,
    *,
    wrappers: Sequence[Wrapper] = (),
    options: Mapping[str, Any] | None = None,
    normalize: Mapping[str, Any] | None = None,
    frame_stack: int = 1,
) -> VecEnv:
    """Make several environments that take steps together, are checked for numbers, and whose state can be saved.

    Args:
        name: An id, such as ``"Pendulum-v1"``.
        count: Number of environments.
        wrappers: Functions to apply to each, the innermost first.
        options: Arguments of each environment.
        normalize: Arguments of `VecNormalize`; None to leave observations and rewards as they are.
        frame_stack: Number of last observations in each one.
    """

    def make() -> gymnasium.Env[Any, Any]:
        return ReplayableEnv(make_environment(name, wrappers=wrappers, **(options or {})))

    env: VecEnv = FiniteVecEnv(DummyVecEnv([make] * count))
    if normalize is not None:
        env = VecNormalize(env, **normalize)
    return env if frame_stack == 1 else VecFrameStack(env, frame_stack)
