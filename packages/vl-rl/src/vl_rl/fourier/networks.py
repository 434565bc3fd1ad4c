"""Parts of policies: networks that begin with Fourier features, and an encoder that only the critic's loss trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.td3.policies import Actor as TD3Actor
from torch import Tensor, nn

from vl_rl.fourier.features import FourierFeatures, Sigma


def behind_features(network: nn.Sequential, in_features: int, **settings: Any) -> nn.Sequential:
    """Put Fourier features before a multilayer perceptron, whose first layer is made anew for their number.

    Args:
        network: The perceptron.
        in_features: Number of inputs.
        settings: Settings of `FourierFeatures`.

    Raises:
        ValueError: If the perceptron has no hidden layer.
    """
    fourier = FourierFeatures(in_features, **settings)
    first = network[0] if len(network) > 1 else None
    if not isinstance(first, nn.Linear):
        raise ValueError("net_arch must have at least one hidden layer behind the Fourier features, got none")
    return nn.Sequential(fourier, nn.Linear(fourier.out_features, first.out_features), *network[1:])


def frequencies(module: nn.Module) -> Iterator[nn.Parameter]:
    """The frequencies B of all Fourier features in a module that are trained."""
    yield from (part.B for part in module.modules() if isinstance(part, FourierFeatures) and part.B.requires_grad)


def part_of(sigma: Sigma, count: int) -> Sigma:
    """Standard deviations of the first inputs, where there is one for each."""
    return sigma if isinstance(sigma, str | float | int) else list(sigma)[:count]


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
    """Mixin of an actor that sees through the critic's encoder, which is not among its parameters."""

    def borrow(self, encoder: nn.Module) -> None:
        """Take an encoder in the place of its own."""
        del self._modules["features_extractor"]  # type: ignore[attr-defined]
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
