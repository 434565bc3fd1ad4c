"""Evaluation on given tasks: each is played exactly once, whatever the number of environments."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

from vl_rl.hindsight.tasks import Array, check_tasks

__all__ = ["TaskEvaluation", "evaluate_tasks"]


class TaskEvaluation(NamedTuple):
    """One episode for each task, in the order of the tasks."""

    tasks: Array
    """``(N, Z)``."""
    returns: NDArray[np.float64]
    """Sums of rewards without discount, ``(N,)``."""
    lengths: NDArray[np.int64]
    """Steps, ``(N,)``."""


def evaluate_tasks(
    model: PolicyPredictor,
    env: gymnasium.Env[Any, Any] | VecEnv,
    tasks: object = None,
    *,
    deterministic: bool = True,
    seed: int | None = None,
) -> TaskEvaluation:
    """Play one episode for each task.

    Tasks are dealt to the environments in turn and set by their method ``set_tasks``, because a VecEnv resets without
    options when an episode ends. What an environment plays after its last task is not counted.

    Args:
        model: Anything with ``predict``, such as an algorithm or a policy; recurrent state is carried.
        env: An environment derived from :class:`MultiTaskEnv`, or a VecEnv of such ones; use none that is in training.
        tasks: Tasks ``(N, Z)``; by default the family's evaluation tasks.
        deterministic: True to play the mean or best action.
        seed: Seed of the environments, for those that begin at random; by default they go on as they are.

    Returns:
        Returns and lengths in the order of the tasks; rewards are the environment's, also under ``VecNormalize``.

    Raises:
        ValueError: If the environment has no ``task_family``, or a task lies outside the task space.
        RuntimeError: If the environment plays another task than it was given.

    Example:
        >>> env = gymnasium.make("vl_rl/PointTrajectory-v0")
        >>> evaluate_tasks(model, env).returns.mean()
    """
    venv = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])
    if not venv.has_attr("task_family"):
        raise ValueError("env must have the attribute task_family; derive the environment from vl_rl.MultiTaskEnv")
    family = venv.get_attr("task_family")[0]
    wanted = check_tasks(family.evaluation_tasks() if tasks is None else tasks, family.task_space)
    count, own = len(wanted), venv.num_envs
    for i in range(own):
        venv.env_method("set_tasks", wanted[i::own] if i < count else None, indices=[i])
    normalization = _normalization(venv)
    if seed is not None:
        venv.seed(seed)
    returns, lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
    playing = np.arange(own)
    observations: Any = venv.reset()
    _check_playing(observations, wanted, playing, normalization)
    states, starts = None, np.ones(own, dtype=bool)
    while (playing < count).any():
        actions, states = model.predict(observations, state=states, episode_start=starts, deterministic=deterministic)
        observations, rewards, starts, _ = venv.step(actions)
        true_rewards = rewards if normalization is None else normalization.get_original_reward()
        live = playing < count
        returns[playing[live]] += true_rewards[live]
        lengths[playing[live]] += 1
        playing = playing + own * starts
        _check_playing(observations, wanted, np.where(starts, playing, count), normalization)
    venv.env_method("set_tasks", None)
    return TaskEvaluation(wanted, returns, lengths)


def _check_playing(observations: Any, wanted: Array, playing: Array, normalization: VecNormalize | None) -> None:
    """See that environments which have just been reset play the tasks of these numbers."""
    shown = (observations if normalization is None else normalization.get_original_obs())["desired_goal"]
    for i in np.flatnonzero(playing < len(wanted)):
        if not np.array_equal(shown[i], wanted[playing[i]]):
            raise RuntimeError(
                f"environment {i} was to play the task {wanted[playing[i]].tolist()}, but plays {shown[i].tolist()}; "
                "its reset must take the tasks given to set_tasks, and no wrapper may change desired_goal"
            )


def _normalization(venv: VecEnv) -> VecNormalize | None:
    while isinstance(venv, VecEnvWrapper):
        if isinstance(venv, VecNormalize):
            return venv
        venv = venv.venv
    return None
