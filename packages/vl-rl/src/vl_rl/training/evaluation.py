"""Returns of a policy, without a trace in the random numbers of its training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, sync_envs_normalization

from vl_rl.hindsight.evaluation import evaluate_tasks

EVALUATION_SEED = 1_000_003
"""Added to the seed of a run for its evaluations, whose episodes then differ from those of training."""


def evaluate(model: BaseAlgorithm, env: VecEnv, episodes: int, *, seed: int = 0) -> list[float]:
    """Returns of episodes with deterministic actions; the same episodes at each call.

    In an environment with a family of tasks, the episodes are one of each of its evaluation tasks.

    Args:
        model: Any algorithm of stable-baselines3.
        env: Environments whose episodes `Monitor` records.
        episodes: Number of episodes.
        seed: Seed of the episodes and of what the policy draws.
    """
    with isolated(seed):
        trained = model.get_vec_normalize_env()
        if trained is not None and model.get_env() is not None:
            sync_envs_normalization(model.get_env(), env)  # type: ignore[arg-type]
        env.seed(seed)
        if env.has_attr("task_family"):
            return [float(value) for value in evaluate_tasks(model, env).returns]
        returns, _ = evaluate_policy(model, env, episodes, return_episode_rewards=True)
    return [float(value) for value in returns]  # type: ignore[union-attr]


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Seed the global random generators inside the block, and restore them afterwards."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
