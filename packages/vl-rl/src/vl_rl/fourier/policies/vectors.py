"""Policies whose networks each begin with Fourier features of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, ContinuousCritic
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy

from vl_rl.fourier.features import Sigma, check_settings
from vl_rl.fourier.networks import FourierQNetwork, FourierSACActor, FourierTD3Actor, behind_features
from vl_rl.fourier.policies._base import NETWORKS, FourierPolicy


class VectorPolicy(FourierPolicy):
    """Mixin of policies whose networks each begin with Fourier features of vectors.

    Args:
        observation_space: Vectors, or what the features extractor makes vectors of.
        action_space: Actions.
        lr_schedule: Learning rate by remaining progress.
        net_arch: Widths of the hidden layers behind the features.
        args: Further arguments of the policy of stable-baselines3.
        fourier_dim: Number of features F, even.
        sigma: See `vl_rl.fourier.FourierFeatures`. One for each input means those of a Q-network, observation and
            action; the actor takes the first ones.
        trainable: If False, the frequencies stay as they were drawn.
        concatenate: Keep the input beside its features.
        networks: The networks that get Fourier features, "actor", "critic" or both.
        fourier_weight_decay: Weight decay of the frequencies; None for that of the other parameters.
        kwargs: Further keyword arguments of the policy of stable-baselines3.

    Raises:
        ValueError: If a setting is out of range, or the observations are of another kind.
    """

    _ARCH: ClassVar[Any] = [256]
    _FOURIER_DIM: ClassVar[int] = 256
    _NETWORKS: ClassVar[tuple[str, ...]] = NETWORKS

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Any,
        net_arch: Any = None,
        *args: Any,
        fourier_dim: int | None = None,
        sigma: Sigma = 0.01,
        trainable: bool = True,
        concatenate: bool = True,
        networks: Sequence[str] | None = None,
        fourier_weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        self._check_observations(observation_space)
        width = self._FOURIER_DIM if fourier_dim is None else fourier_dim
        self.fourier_settings = {
            "fourier_dim": width,
            "sigma": sigma,
            "trainable": trainable,
            "concatenate": concatenate,
        }
        check_settings(None, width, sigma)
        self.networks = self._NETWORKS if networks is None else tuple(networks)
        if not self.networks or set(self.networks) - set(NETWORKS):
            raise ValueError(f"networks must be some of {', '.join(NETWORKS)}, got {networks!r}")
        self._set_weight_decay(fourier_weight_decay)
        super().__init__(  # type: ignore[call-arg]
            observation_space, action_space, lr_schedule, self._ARCH if net_arch is None else net_arch, *args, **kwargs
        )

    def _check_observations(self, space: spaces.Space[Any]) -> None:
        if isinstance(space, spaces.Dict):
            raise ValueError(
                f"observation_space must be vectors for FourierMlpPolicy, got a Dict of {', '.join(space)}; use "
                "FourierMultiInputPolicy"
            )
        if is_image_space(space):
            raise ValueError(
                f"observation_space must be vectors for FourierMlpPolicy, got images of shape {space.shape}; use "
                "FourierCnnPolicy"
            )

    def _own_parameters(self) -> dict[str, Any]:
        return {**self.fourier_settings, "networks": self.networks}

    def _behind(self, network: Any, in_features: int) -> Any:
        return behind_features(network, in_features, **self.fourier_settings).to(self.device)  # type: ignore[attr-defined]


class _ActorAndQNetworks(VectorPolicy):
    """Mixin of vector policies with an actor and Q-networks."""

    _ACTOR: ClassVar[Any]
    """Class of an actor with Fourier features."""

    def make_actor(self, features_extractor: Any = None) -> Any:
        """Build the actor; its features are those of the observation."""
        if "actor" not in self.networks:
            return super().make_actor(features_extractor)  # type: ignore[misc]
        kwargs = self._update_features_extractor(self.actor_kwargs, features_extractor)  # type: ignore[attr-defined]
        return self._ACTOR(**kwargs, fourier=self.fourier_settings).to(self.device)  # type: ignore[attr-defined]

    def make_critic(self, features_extractor: Any = None) -> ContinuousCritic:
        """Build the Q-networks; their features are those of the observation and the action."""
        critic: ContinuousCritic = super().make_critic(features_extractor)  # type: ignore[misc]
        in_features = critic.features_extractor.features_dim + self.action_space.shape[0]  # type: ignore[attr-defined]
        if "critic" in self.networks:
            for index, network in enumerate(critic.q_networks):
                critic.q_networks[index] = self._behind(network, in_features)
                setattr(critic, f"qf{index}", critic.q_networks[index])
        return critic


class FourierSACPolicy(_ActorAndQNetworks, SACPolicy):
    """Policy of SAC with Fourier features of vectors."""

    _ACTOR: ClassVar[Any] = FourierSACActor


class FourierTD3Policy(_ActorAndQNetworks, TD3Policy):
    """Policy of TD3 and DDPG with Fourier features of vectors."""

    _ARCH: ClassVar[Any] = [300]
    _FOURIER_DIM: ClassVar[int] = 400
    _ACTOR: ClassVar[Any] = FourierTD3Actor


class FourierDQNPolicy(VectorPolicy, DQNPolicy):
    """Policy of DQN with Fourier features of vectors."""

    _ARCH: ClassVar[Any] = [64]
    _FOURIER_DIM: ClassVar[int] = 64
    _NETWORKS: ClassVar[tuple[str, ...]] = ("critic",)

    def make_q_net(self) -> QNetwork:
        """Build the Q-network."""
        kwargs = self._update_features_extractor(self.net_args, features_extractor=None)
        return FourierQNetwork(**kwargs, fourier=self.fourier_settings).to(self.device)


class FourierActorCriticPolicy(VectorPolicy, ActorCriticPolicy):
    """Policy of PPO and A2C with Fourier features of vectors, by default in the value network alone."""

    _ARCH: ClassVar[Any] = {"pi": [64, 64], "vf": [64]}
    _FOURIER_DIM: ClassVar[int] = 64
    _NETWORKS: ClassVar[tuple[str, ...]] = ("critic",)

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        extractor = self.mlp_extractor
        if "critic" in self.networks:
            extractor.value_net = self._behind(extractor.value_net, self.features_dim)
        if "actor" in self.networks:
            extractor.policy_net = self._behind(extractor.policy_net, self.features_dim)
