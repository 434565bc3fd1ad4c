"""Policies whose encoder of images begins with Fourier features of each pixel."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from stable_baselines3.common.policies import ActorCriticPolicy, ContinuousCritic
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy

from vl_rl.fourier.extractors import FourierCnnExtractor
from vl_rl.fourier.features import Sigma
from vl_rl.fourier.networks import BorrowingSACActor, BorrowingTD3Actor, EncodingCritic
from vl_rl.fourier.policies._base import FourierPolicy


class _ImagePolicy(FourierPolicy):
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
        normalize_images: Divide images by 255; False for images that need no division, of any type and range.
        kwargs: Further keyword arguments of the policy of stable-baselines3.

    Raises:
        ValueError: If a setting is out of range, the observations are no images, or the encoder takes no settings of
            Fourier features.
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
        normalize_images: bool = True,
        **kwargs: Any,
    ) -> None:
        self.fourier_settings = {
            "fourier_dim": fourier_dim,
            "sigma": sigma,
            "trainable": trainable,
            "concatenate": concatenate,
        }
        try:
            inspect.signature(features_extractor_class).bind_partial(**self.fourier_settings)
        except TypeError:
            raise ValueError(
                f"features_extractor_class must take {', '.join(self.fourier_settings)}, as FourierCnnExtractor does, "
                f"got {features_extractor_class.__name__}; use CnnPolicy for an encoder without Fourier features"
            ) from None
        self._set_weight_decay(fourier_weight_decay)
        encoder_settings = {**self.fourier_settings, **(features_extractor_kwargs or {})}
        if not normalize_images and issubclass(features_extractor_class, FourierCnnExtractor):
            encoder_settings["normalized_image"] = True
        super().__init__(  # type: ignore[call-arg]
            *args,
            net_arch=self._ARCH if net_arch is None else net_arch,
            features_extractor_class=features_extractor_class,
            features_extractor_kwargs=encoder_settings,
            normalize_images=normalize_images,
            **kwargs,
        )

    def _own_parameters(self) -> dict[str, Any]:
        return {}  # They are among the settings of the encoder.


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
        # Two encoders first, of which the actor's, which is none of its parts, then gives way to the critic's.
        self.share_features_extractor = False
        super()._build(lr_schedule)
        self.share_features_extractor = shared
        if shared:
            self.actor.borrow(self.critic.features_extractor)  # type: ignore[attr-defined]
            if hasattr(self, "actor_target"):
                self.actor_target.borrow(self.critic_target.features_extractor)  # type: ignore[attr-defined]

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


class FourierActorCriticCnnPolicy(_ImagePolicy, ActorCriticPolicy):
    """Policy of PPO and A2C with Fourier features of images, in the encoder that actor and critic share."""
