"""Parts of policies: networks that begin with Fourier features, and an encoder that only the critic's loss trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.dqn.policies import QNetwork
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.td3.policies import Actor as TD3Actor
from torch import Tensor, nn

from vl_rl.fourier.features import FourierFeatures, Sigma


def behind_features(network: nn.Sequential, in_features: int, *, sigma: Sigma, **settings: Any) -> nn.Sequential:
    """Put Fourier features before a multilayer perceptron, whose first layer is made anew for their number.

    Args:
        network: The perceptron.
        in_features: Number of inputs.
        sigma: See `FourierFeatures`; of one for each input, the first ones are taken.
        settings: Further settings of `FourierFeatures`.

    Raises:
        ValueError: If the perceptron has no hidden layer.
    """
    fourier = FourierFeatures(in_features, sigma=part_of(sigma, in_features), **settings)
    first = network[0] if len(network) > 1 else None
    if not isinstance(first, nn.Linear):
        raise ValueError("net_arch must have at least one hidden layer behind the Fourier features, got none")
    return nn.Sequential(fourier, nn.Linear(fourier.out_features, first.out_features), *network[1:])


def frequencies(module: nn.Module) -> Iterator[nn.Parameter]:
    """The frequencies B of all Fourier features in a module that are trained."""
    yield from (part.B for part in module.modules() if isinstance(part, FourierFeatures) and part.B.requires_grad)


_SHOWN = {"latent_pi": "actor", "mu": "actor", "policy_net": "actor", "value_net": "critic"}
_ENCODERS = {"features_extractor": "actor", "pi_features_extractor": "actor", "vf_features_extractor": "critic"}


def named_features(policy: nn.Module) -> list[tuple[str, FourierFeatures]]:
    """Fourier features of a policy, by the name of their network; compiled or not."""
    shared = getattr(policy, "share_features_extractor", True)
    found = []
    for path, part in policy.named_modules():
        if isinstance(part, FourierFeatures):
            owner, *inner = [name for name in path.split(".") if name not in ("_orig_mod", "0")]
            if (inner and inner[-1] == "fourier") or owner in _ENCODERS:
                name = "encoder" if shared else _ENCODERS.get(owner, owner.removesuffix("_target"))
            else:
                name = (inner or [owner])[-1]
            name = _SHOWN.get(name, name)
            found.append((f"target_{name}" if owner.endswith("_target") else name, part))
    return found


def part_of(sigma: Sigma, count: int) -> Sigma:
    """Standard deviations of the first inputs, where there is one for each."""
    return sigma if isinstance(sigma, str) or not np.ndim(sigma) else list(cast("Sequence[float]", sigma))[:count]


class _BehindFeatures:
    """Mixin of a network whose hidden layers stand behind Fourier features, also after its own `save` and `load`.

    Args:
        args: Arguments of the network of stable-baselines3.
        fourier: Settings of `FourierFeatures`.
        kwargs: Further keyword arguments of the network.
    """

    _LAYERS: ClassVar[str]
    """Attribute that holds the hidden layers."""

    features_dim: int

    def __init__(self, *args: Any, fourier: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fourier = dict(fourier)
        setattr(self, self._LAYERS, behind_features(getattr(self, self._LAYERS), self.features_dim, **fourier))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "fourier": self.fourier}  # type: ignore[misc]


class FourierSACActor(_BehindFeatures, SACActor):
    """Actor of SAC with Fourier features."""

    _LAYERS: ClassVar[str] = "latent_pi"


class FourierTD3Actor(_BehindFeatures, TD3Actor):
    """Actor of TD3 and DDPG with Fourier features."""

    _LAYERS: ClassVar[str] = "mu"


class FourierQNetwork(_BehindFeatures, QNetwork):
    """Q-network of DQN with Fourier features."""

    _LAYERS: ClassVar[str] = "q_net"


class EncodingCritic(ContinuousCritic):
    """Critic whose encoder gets the gradient of the critic's loss, and none of the actor's.

    An actor's loss is known by its actions, which depend on the actor's parameters; those of the critic's loss come
    from the replay buffer.
    """

    def forward(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """Q-values ``(B, 1)`` of each network."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not actions.requires_grad):
            features = self.extract_features(obs, self.features_extractor)
        inputs = torch.cat([features, actions], dim=1)
        return tuple(network(inputs) for network in self.q_networks)


class _Borrowing:
    """Mixin of an actor that sees through an encoder, in training the critic's, which is not among its parameters.

    ``save`` keeps the encoder beside the parameters.
    """

    features_extractor: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.borrow(self.features_extractor)

    def borrow(self, encoder: nn.Module) -> None:
        """Take an encoder in the place of the one before."""
        self._modules.pop("features_extractor", None)  # type: ignore[attr-defined]
        # Not an assignment, which would make it a part of this module, its optimizer and its state.
        self.__dict__["features_extractor"] = encoder

    def extract_features(self, obs: Any, features_extractor: Any) -> Tensor:
        """Features of observations, without a gradient."""
        with torch.no_grad():
            features: Tensor = super().extract_features(obs, features_extractor)  # type: ignore[misc]
        return features


class BorrowingSACActor(_Borrowing, SACActor):
    """Actor of SAC behind the critic's encoder."""


class BorrowingTD3Actor(_Borrowing, TD3Actor):
    """Actor of TD3 and DDPG behind the critic's encoder."""
