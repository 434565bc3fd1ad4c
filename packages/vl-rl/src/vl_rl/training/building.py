"""The environments and the algorithm of a run, made from its settings."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import VecEnv

from vl_rl.hindsight.callback import HindsightCallback
from vl_rl.hindsight.policy import TaskExtractor
from vl_rl.hindsight.replay_buffer import GeneralizedHindsightReplayBuffer
from vl_rl.training.environments import make_vector
from vl_rl.training.settings import RunSettings
from vl_rl.zoo.algorithms import check_actions, check_algorithm
from vl_rl.zoo.hyperparameters import Hyperparameters, resolve

_LEARNING_STARTS = 100
"""Default of the algorithms with a replay buffer."""


def build(settings: RunSettings, env: VecEnv, **changes: Any) -> BaseAlgorithm:
    """Make the algorithm of a run, untrained.

    Args:
        settings: The run.
        env: Its environments.
        changes: Arguments of the algorithm that take the place of the settings' own.

    Raises:
        ValueError: If it does not take the environment's actions, or an argument is wrong.
    """
    algorithm = check_algorithm(settings.algo)
    check_actions(settings.algo, env.action_space, settings.env)
    chosen = _resolved(settings)
    arguments = {"policy": algorithm.policy_for(env.observation_space), **chosen.arguments, **changes}
    if env.has_attr("task_family"):
        _add_tasks(arguments, settings, env)
    elif settings.relabel:
        raise ValueError(
            f"relabel must be left out for {settings.env}, which has no family of tasks, got {settings.relabel}; take "
            "vl_rl/PointTrajectory-v0, or an environment derived from vl_rl.MultiTaskEnv"
        )
    if chosen.noise is not None:
        arguments["action_noise"] = _action_noise(*chosen.noise, size=int(np.prod(env.action_space.shape or ())))
    try:
        return algorithm.load()(env=env, seed=settings.seed, device=settings.device, **arguments)
    except TypeError as error:
        raise ValueError(f"{settings.source}: {settings.algo} does not take its hyper-parameters: {error}") from error


def check_run(settings: RunSettings) -> None:
    """Check that the algorithm of a run takes its environment and its hyper-parameters, by making both.

    Raises:
        ValueError: If it does not.
        ModuleNotFoundError: If the environment needs a package that is not installed.
    """
    env = make_environments(settings)
    try:
        build(settings, env)
    finally:
        env.close()


def make_environments(settings: RunSettings, count: int | None = None, **options: Any) -> VecEnv:
    """Make the environments of a run.

    Args:
        settings: The run.
        count: Number of environments; by default, that of its training.
        options: Further arguments of each environment, such as ``render_mode``.
    """
    chosen = _resolved(settings)
    training = count is None
    normalize = chosen.normalize
    if normalize is not None and not training:
        normalize = {**normalize, "training": False, "norm_reward": False}
    return make_vector(
        settings.env,
        chosen.n_envs if count is None else count,
        wrappers=chosen.wrappers,
        options={**chosen.env_options, **options},
        normalize=normalize,
        frame_stack=chosen.frame_stack,
    )


def make_evaluation_environments(settings: RunSettings) -> VecEnv:
    """Make the environments in which a run is evaluated: one, or one for each evaluation task, 25 at most."""
    env = make_environments(settings, 1)
    if not env.has_attr("task_family"):
        return env
    tasks = len(env.get_attr("task_family")[0].evaluation_tasks())
    env.close()
    return make_environments(settings, min(tasks, 25))


def callbacks(model: BaseAlgorithm) -> list[BaseCallback]:
    """Callbacks that the buffer of a run needs."""
    relabels = isinstance(getattr(model, "replay_buffer", None), GeneralizedHindsightReplayBuffer)
    return [HindsightCallback()] if relabels else []


def _resolved(settings: RunSettings) -> Hyperparameters:
    algorithm = check_algorithm(settings.algo)
    return resolve(algorithm.with_own_policy(settings.hyperparameters), algorithm.load(), settings.source)


def _add_tasks(arguments: dict[str, Any], settings: RunSettings, env: VecEnv) -> None:
    """Let a policy see the task and not what was measured, and relabel what it does."""
    arguments["policy_kwargs"] = {"features_extractor_class": TaskExtractor, **arguments.get("policy_kwargs", {})}
    if settings.is_off_policy:
        kind = arguments.setdefault("replay_buffer_class", GeneralizedHindsightReplayBuffer)
        given = arguments.get("replay_buffer_kwargs", {})
        if issubclass(kind, GeneralizedHindsightReplayBuffer):
            if settings.relabel and "strategy" in given:
                raise ValueError(
                    f"relabel must be left out where {settings.source} has a strategy in replay_buffer_kwargs, got "
                    f"{settings.relabel}; remove one of the two"
                )
            own = {"strategy": settings.relabel or "none", "gamma": arguments.get("gamma", 0.99)}
            arguments["replay_buffer_kwargs"] = {**own, **given}
            _wait_for_an_episode(arguments, env)
        elif settings.relabel:
            raise ValueError(
                f"relabel needs a GeneralizedHindsightReplayBuffer, got {settings.relabel} with replay_buffer_class "
                f"{kind.__name__} in {settings.source}; remove one of the two"
            )
    elif settings.relabel:
        raise ValueError(
            f"relabel needs an algorithm with a replay buffer, such as sac, got {settings.relabel} with {settings.algo}"
        )


def _wait_for_an_episode(arguments: dict[str, Any], env: VecEnv) -> None:
    """Begin to learn when an episode of each environment is complete: nothing can be sampled before."""
    horizon = env.get_attr("horizon")[0] if env.has_attr("horizon") else None
    if horizon is not None and horizon * env.num_envs > _LEARNING_STARTS:
        arguments.setdefault("learning_starts", horizon * env.num_envs)


def _action_noise(kind: str, deviation: float, size: int) -> ActionNoise:
    noise = NormalActionNoise if kind == "normal" else OrnsteinUhlenbeckActionNoise
    return noise(np.zeros(size), deviation * np.ones(size))
