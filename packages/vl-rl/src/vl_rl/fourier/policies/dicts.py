"""Vector policies for dict observations, whose entries are made one vector first."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor

from vl_rl.fourier.policies.vectors import (
    FourierActorCriticPolicy,
    FourierDQNPolicy,
    FourierSACPolicy,
    FourierTD3Policy,
    VectorPolicy,
)


class _MultiInput(VectorPolicy):
    """Mixin of policies for dict observations; images among them pass the encoder of stable-baselines3."""

    def __init__(self, *args: Any, features_extractor_class: Any = CombinedExtractor, **kwargs: Any) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)

    def _check_observations(self, space: spaces.Space[Any]) -> None:
        if not isinstance(space, spaces.Dict):
            raise ValueError(
                f"observation_space must be a Dict for FourierMultiInputPolicy, got {type(space).__name__} of shape "
                f"{space.shape}; use FourierMlpPolicy for vectors, FourierCnnPolicy for images"
            )


class FourierSACMultiInputPolicy(_MultiInput, FourierSACPolicy):
    """Policy of SAC with Fourier features of dict observations."""


class FourierTD3MultiInputPolicy(_MultiInput, FourierTD3Policy):
    """Policy of TD3 and DDPG with Fourier features of dict observations."""


class FourierDQNMultiInputPolicy(_MultiInput, FourierDQNPolicy):
    """Policy of DQN with Fourier features of dict observations."""


class FourierActorCriticMultiInputPolicy(_MultiInput, FourierActorCriticPolicy):
    """Policy of PPO and A2C with Fourier features of dict observations."""
