"""Parts of an agent that relabeling needs: features without `achieved_goal`, and a value function."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import CombinedExtractor
from torch import Tensor

from vl_rl.hindsight.strategies import Value
from vl_rl.hindsight.tasks import Array

__all__ = ["TaskExtractor", "check_policy", "value_function"]


class TaskExtractor(CombinedExtractor):
    """Concatenates observation and task, and ignores ``achieved_goal``, which is there for rewards alone.

    Args:
        observation_space: The environment's space of dictionaries.
        **options: As for stable-baselines3's ``CombinedExtractor``.

    Example:
        >>> options = {"features_extractor_class": TaskExtractor}
        >>> model = SAC("MultiInputPolicy", "vl_rl/PointTrajectory-v0", policy_kwargs=options)
    """

    def __init__(self, observation_space: spaces.Dict, **options: Any):
        seen = {key: space for key, space in observation_space.spaces.items() if key != "achieved_goal"}
        super().__init__(spaces.Dict(seen), **options)


def check_policy(model: BaseAlgorithm) -> None:
    """Refuse a model whose policy reads ``achieved_goal``.

    Raises:
        ValueError: If a feature of the policy changes when ``achieved_goal`` alone does.
    """
    space = model.observation_space
    assert isinstance(space, spaces.Dict)
    observation = {key: np.zeros((1, *(part.shape or ()))) for key, part in space.spaces.items()}
    changed = {**observation, "achieved_goal": observation["achieved_goal"] + 0.5}
    policy: Any = model.policy
    # Actor and critic have extractors of their own, of one class; a Q-network has one.
    owner = next((part for part in (getattr(policy, "actor", None), getattr(policy, "q_net", None)) if part), policy)
    with torch.no_grad():
        first, second = (
            owner.extract_features(policy.obs_to_tensor(one)[0], owner.features_extractor)
            for one in (observation, changed)
        )
    if not torch.equal(first, second):
        raise ValueError(
            "policy must not read achieved_goal, which holds what the environment measured and is not relabeled; pass "
            'policy_kwargs={"features_extractor_class": TaskExtractor}'
        )


def value_function(model: BaseAlgorithm) -> Value:
    """Value of an agent's deterministic action: the smallest of its critics, or the largest Q of a Q-network.

    Works with SAC, TD3, DDPG, DQN and TQC (whose quantiles are averaged). The networks are read at each call.

    Raises:
        TypeError: If the model has neither an actor and a critic nor a Q-network.
        ValueError: If rewards are normalized, since returns are not.
    """
    normalization: Any = model.get_vec_normalize_env()
    if normalization is not None and normalization.norm_reward:
        raise ValueError(
            "relabeling by advantage compares values with returns, got VecNormalize with norm_reward=True; "
            "turn it off, or use strategy air or reward"
        )
    policy: Any = model.policy
    if not (hasattr(policy, "critic") and hasattr(policy, "actor")) and not hasattr(policy, "q_net"):
        raise TypeError(
            f"model must have a critic or a Q-network, got {type(model).__name__}; use SAC, TD3, DDPG or DQN"
        )
    space = model.observation_space
    assert isinstance(space, spaces.Dict)
    unseen = np.zeros((1, *(space["achieved_goal"].shape or ())))

    def value(observations: Array, tasks: Array) -> NDArray[np.float64]:
        batch: dict[str, Array] = {
            "observation": observations.astype(space["observation"].dtype),
            "achieved_goal": np.repeat(unseen, len(tasks), axis=0).astype(space["achieved_goal"].dtype),
            "desired_goal": tasks.astype(space["desired_goal"].dtype),
        }
        seen: Any = batch if normalization is None else normalization.normalize_obs(batch)
        inputs = {key: torch.as_tensor(array, device=model.device) for key, array in seen.items()}
        with torch.no_grad():
            if hasattr(policy, "q_net"):
                found: Tensor = policy.q_net(inputs).max(1).values
            else:
                q = policy.critic(inputs, policy._predict(inputs, deterministic=True))
                # A tuple of (K, 1) for each critic, or quantiles (K, critics, quantiles).
                each = q.mean(2) if isinstance(q, Tensor) else torch.cat(q, 1)
                found = each.min(1).values
        return found.double().cpu().numpy()

    return value
