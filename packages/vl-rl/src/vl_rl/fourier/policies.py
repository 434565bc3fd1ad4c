"""Policies of stable-baselines3 whose networks begin with Fourier features.

A network has one hidden layer less than by default in stable-baselines3: the features stand in its place, and about
as many numbers are trained. Vector policies give every network frequencies of its own: the actor and each Q-network of
SAC, TD3 and DDPG (whose input is the observation and the action), the Q-network of DQN, the value network of PPO and
A2C. Image policies put them at the bottom of the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, ContinuousCritic
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy

from vl_rl.common.learning_rates import split_group
from vl_rl.fourier.extractors import FourierCnnExtractor
from vl_rl.fourier.features import Sigma, check_settings
from vl_rl.fourier.networks import (
    BorrowingSACActor,
    BorrowingTD3Actor,
    EncodingCritic,
    behind_features,
    frequencies,
    part_of,
)

NETWORKS = ("actor", "critic")


class _FourierPolicy:
    """Mixin of all policies: the group of the frequencies in each optimizer."""

    fourier_weight_decay: float | None

    def _group_frequencies(self, *owners: Any) -> None:
        settings: dict[str, Any] = {"role": "fourier"}
        if self.fourier_weight_decay is not None:
            settings["weight_decay"] = self.fourier_weight_decay
        for owner in owners:
            split_group(owner.optimizer, frequencies(self), **settings)  # type: ignore[arg-type]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"fourier_weight_decay": self.fourier_weight_decay, **self._fourier_parameters()}
        return {**super()._get_constructor_parameters(), **own}  # type: ignore[misc]

    def _fourier_parameters(self) -> dict[str, Any]:
        return {}


class _VectorPolicy(_FourierPolicy):
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
        ValueError: If a setting is out of range, or the observations are images.
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
        self.fourier_settings = {
            "fourier_dim": self._FOURIER_DIM if fourier_dim is None else fourier_dim,
            "sigma": sigma,
            "trainable": trainable,
            "concatenate": concatenate,
        }
        self.networks = self._NETWORKS if networks is None else tuple(networks)
        self.fourier_weight_decay = fourier_weight_decay
        check_settings(None, self.fourier_settings["fourier_dim"], sigma)  # type: ignore[arg-type]
        if not self.networks or set(self.networks) - set(NETWORKS):
            raise ValueError(f"networks must be some of {', '.join(NETWORKS)}, got {networks!r}")
        if is_image_space(observation_space):
            raise ValueError(
                "observation_space must be vectors for FourierMlpPolicy, got images of shape "
                f"{observation_space.shape}; use FourierCnnPolicy"
            )
        _check_decay(fourier_weight_decay)
        super().__init__(  # type: ignore[call-arg]
            observation_space, action_space, lr_schedule, self._ARCH if net_arch is None else net_arch, *args, **kwargs
        )

    def _fourier_parameters(self) -> dict[str, Any]:
        return {**self.fourier_settings, "networks": self.networks}

    def _behind(self, network: Any, in_features: int) -> Any:
        sigma: Any = part_of(self.fourier_settings["sigma"], in_features)
        made = behind_features(network, in_features, **{**self.fourier_settings, "sigma": sigma})
        return made.to(self.device)  # type: ignore[attr-defined]


class _ActorAndQNetworks(_VectorPolicy):
    """Mixin of vector policies with an actor and Q-networks."""

    _ACTOR_NETWORK: ClassVar[str]
    """Attribute of the actor that holds its hidden layers."""

    def make_actor(self, features_extractor: Any = None) -> Any:
        """Build the actor; its features are those of the observation."""
        actor = super().make_actor(features_extractor)  # type: ignore[misc]
        if "actor" in self.networks:
            network = getattr(actor, self._ACTOR_NETWORK)
            setattr(actor, self._ACTOR_NETWORK, self._behind(network, actor.features_extractor.features_dim))
        return actor

    def make_critic(self, features_extractor: Any = None) -> ContinuousCritic:
        """Build the Q-networks; their features are those of the observation and the action."""
        critic: ContinuousCritic = super().make_critic(features_extractor)  # type: ignore[misc]
        in_features = critic.features_extractor.features_dim + self.action_space.shape[0]  # type: ignore[attr-defined]
        if "critic" in self.networks:
            for index, network in enumerate(critic.q_networks):
                critic.q_networks[index] = self._behind(network, in_features)
                setattr(critic, f"qf{index}", critic.q_networks[index])
        return critic

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]
        self._group_frequencies(self.actor, self.critic)  # type: ignore[attr-defined]


class FourierSACPolicy(_ActorAndQNetworks, SACPolicy):
    """Policy of SAC with Fourier features of vectors."""

    _ACTOR_NETWORK: ClassVar[str] = "latent_pi"


class FourierTD3Policy(_ActorAndQNetworks, TD3Policy):
    """Policy of TD3 and DDPG with Fourier features of vectors."""

    _ARCH: ClassVar[Any] = [300]
    _FOURIER_DIM: ClassVar[int] = 400
    _ACTOR_NETWORK: ClassVar[str] = "mu"


class FourierDQNPolicy(_VectorPolicy, DQNPolicy):
    """Policy of DQN with Fourier features of vectors."""

    _ARCH: ClassVar[Any] = [64]
    _FOURIER_DIM: ClassVar[int] = 64
    _NETWORKS: ClassVar[tuple[str, ...]] = ("critic",)

    def make_q_net(self) -> QNetwork:
        """Build the Q-network."""
        network = super().make_q_net()
        network.q_net = self._behind(network.q_net, network.features_dim)
        return network

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self._group_frequencies(self)


class FourierActorCriticPolicy(_VectorPolicy, ActorCriticPolicy):
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

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self._group_frequencies(self)


class _ImagePolicy(_FourierPolicy):
    """Mixin of policies whose encoder of images begins with Fourier features of each pixel.

    Args:
        args: Arguments of the policy of stable-baselines3.
        net_arch: Widths of the hidden layers behind the encoder.
        fourier_dim: Number of features of a pixel, even.
        sigma: See `vl_rl.fourier.FourierFeatures`; images are in [0, 1].
        trainable: If False, the frequencies stay as they were drawn.
        concatenate: Keep the image beside its features.
        fourier_weight_decay: Weight decay of the frequencies; None for that of the other parameters.
        features_extractor_class: The encoder.
        features_extractor_kwargs: Further settings of the encoder.
        kwargs: Further keyword arguments of the policy of stable-baselines3.

    Raises:
        ValueError: If a setting is out of range, or the observations are no images.
    """

    _ARCH: ClassVar[Any] = []

    def __init__(
        self,
        *args: Any,
        net_arch: Any = None,
        fourier_dim: int = 128,
        sigma: Sigma = 0.1,
        trainable: bool = True,
        concatenate: bool = True,
        fourier_weight_decay: float | None = None,
        features_extractor_class: Any = FourierCnnExtractor,
        features_extractor_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.fourier_settings = {
            "fourier_dim": fourier_dim,
            "sigma": sigma,
            "trainable": trainable,
            "concatenate": concatenate,
        }
        self.fourier_weight_decay = fourier_weight_decay
        _check_decay(fourier_weight_decay)
        super().__init__(  # type: ignore[call-arg]
            *args,
            net_arch=self._ARCH if net_arch is None else net_arch,
            features_extractor_class=features_extractor_class,
            features_extractor_kwargs={**self.fourier_settings, **(features_extractor_kwargs or {})},
            **kwargs,
        )


class _SharedEncoder(_ImagePolicy):
    """Mixin of off-policy image policies: actor and critic share an encoder that the critic's loss trains.

    With ``share_features_extractor=True`` stable-baselines3 trains it by the actor's loss and keeps the critic's from
    it; RAD (Laskin et al., 2020), which the image experiments of Li and Pathak build on, does the reverse.
    """

    share_features_extractor: bool

    _ARCH: ClassVar[Any] = [256, 256]
    _ACTORS: ClassVar[tuple[Any, Any]]
    """The actor with an encoder of its own, and the one that borrows."""

    def __init__(self, *args: Any, share_features_extractor: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, share_features_extractor=share_features_extractor, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        shared = self.share_features_extractor
        # Two encoders first, of which the actor then gives up its own.
        self.share_features_extractor = False
        super()._build(lr_schedule)  # type: ignore[misc]
        self.share_features_extractor = shared
        if shared:
            pairs = [(self.actor, self.critic)]  # type: ignore[attr-defined]
            if hasattr(self, "actor_target"):
                pairs.append((self.actor_target, self.critic_target))  # type: ignore[attr-defined]
            for actor, critic in pairs:
                actor.borrow(critic.features_extractor)
            actor = self.actor  # type: ignore[attr-defined]
            kwargs = self.optimizer_kwargs  # type: ignore[attr-defined]
            actor.optimizer = self.optimizer_class(actor.parameters(), lr=lr_schedule(1), **kwargs)  # type: ignore[attr-defined]
        self._group_frequencies(self.actor, self.critic)  # type: ignore[attr-defined]

    def make_actor(self, features_extractor: Any = None) -> Any:
        """Build the actor, which may borrow the critic's encoder."""
        kind = self._ACTORS[self.critic_kwargs["share_features_extractor"]]  # type: ignore[attr-defined]
        return kind(**self._update_features_extractor(self.actor_kwargs, features_extractor)).to(self.device)  # type: ignore[attr-defined]

    def make_critic(self, features_extractor: Any = None) -> ContinuousCritic:
        """Build the Q-networks and their encoder."""
        kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)  # type: ignore[attr-defined]
        return EncodingCritic(**kwargs).to(self.device)  # type: ignore[attr-defined]


class FourierSACCnnPolicy(_SharedEncoder, SACPolicy):
    """Policy of SAC with Fourier features of images."""

    _ACTORS: ClassVar[tuple[Any, Any]] = (SACActor, BorrowingSACActor)


class FourierTD3CnnPolicy(_SharedEncoder, TD3Policy):
    """Policy of TD3 and DDPG with Fourier features of images."""

    _ACTORS: ClassVar[tuple[Any, Any]] = (TD3Actor, BorrowingTD3Actor)


class FourierDQNCnnPolicy(_ImagePolicy, DQNPolicy):
    """Policy of DQN with Fourier features of images."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self._group_frequencies(self)


class FourierActorCriticCnnPolicy(_ImagePolicy, ActorCriticPolicy):
    """Policy of PPO and A2C with Fourier features of images, in the encoder that actor and critic share."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self._group_frequencies(self)


class _MultiInput(_VectorPolicy):
    """Mixin of policies for dict observations, whose entries are made one vector first."""

    def __init__(self, *args: Any, features_extractor_class: Any = CombinedExtractor, **kwargs: Any) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)


class FourierSACMultiInputPolicy(_MultiInput, FourierSACPolicy):
    """Policy of SAC with Fourier features of dict observations."""


class FourierTD3MultiInputPolicy(_MultiInput, FourierTD3Policy):
    """Policy of TD3 and DDPG with Fourier features of dict observations."""


class FourierDQNMultiInputPolicy(_MultiInput, FourierDQNPolicy):
    """Policy of DQN with Fourier features of dict observations."""


class FourierActorCriticMultiInputPolicy(_MultiInput, FourierActorCriticPolicy):
    """Policy of PPO and A2C with Fourier features of dict observations."""


def _check_decay(decay: float | None) -> None:
    if decay is not None and not 0 <= decay < float("inf"):
        raise ValueError(f"fourier_weight_decay must be at least 0, got {decay}")
