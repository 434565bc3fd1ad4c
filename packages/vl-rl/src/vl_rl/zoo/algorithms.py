"""The algorithms that the command knows by name; nothing is imported before one is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gymnasium import Space
    from stable_baselines3.common.base_class import BaseAlgorithm


@dataclass(frozen=True)
class Algorithm:
    """An algorithm by name: where its class is, and what its policies are called."""

    path: str
    """Its class, as ``"module:Class"``."""
    policy_prefix: str = ""
    """First part of the names of its policies: ``"Fourier"`` for ``"FourierMlpPolicy"``."""
    off_policy: bool = True
    """True if it learns from a replay buffer."""
    discrete: bool = False
    """True if it takes discrete actions."""
    continuous: bool = True
    """True if it takes continuous actions."""

    def load(self) -> type[BaseAlgorithm]:
        """Import its class."""
        module, _, name = self.path.partition(":")
        found: type[BaseAlgorithm] = getattr(import_module(module), name)
        return found

    def policy_for(self, observations: Space[Any]) -> str:
        """Name of the policy for an observation space: vectors, images or dictionaries."""
        from gymnasium.spaces import Dict
        from stable_baselines3.common.preprocessing import is_image_space

        kind = "MultiInput" if isinstance(observations, Dict) else "Cnn" if is_image_space(observations) else "Mlp"
        return f"{self.policy_prefix}{kind}Policy"


_ON_POLICY: dict[str, Any] = {"off_policy": False, "discrete": True}
_DISCRETE: dict[str, Any] = {"discrete": True, "continuous": False}
_STOCK = "stable_baselines3"

ALGORITHMS = {
    "sac": Algorithm(f"{_STOCK}:SAC"),
    "td3": Algorithm(f"{_STOCK}:TD3"),
    "ddpg": Algorithm(f"{_STOCK}:DDPG"),
    "dqn": Algorithm(f"{_STOCK}:DQN", **_DISCRETE),
    "ppo": Algorithm(f"{_STOCK}:PPO", **_ON_POLICY),
    "a2c": Algorithm(f"{_STOCK}:A2C", **_ON_POLICY),
    "fourier-sac": Algorithm("vl_rl:FourierSAC", "Fourier"),
    "fourier-td3": Algorithm("vl_rl:FourierTD3", "Fourier"),
    "fourier-ddpg": Algorithm("vl_rl:FourierDDPG", "Fourier"),
    "fourier-dqn": Algorithm("vl_rl:FourierDQN", "Fourier", **_DISCRETE),
    "fourier-ppo": Algorithm("vl_rl:FourierPPO", "Fourier", **_ON_POLICY),
    "fourier-a2c": Algorithm("vl_rl:FourierA2C", "Fourier", **_ON_POLICY),
    "hippo": Algorithm("vl_rl:HiPPO", "Hierarchical", **_ON_POLICY),
}
"""Algorithms by the name that the command takes."""


def check_algorithm(name: str) -> Algorithm:
    """Find an algorithm by name.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in ALGORITHMS:
        raise ValueError(f"algo must be among {', '.join(ALGORITHMS)}, got {name!r}")
    return ALGORITHMS[name]


def check_actions(name: str, actions: Space[Any], env: str) -> None:
    """Check that an algorithm takes the actions of an environment.

    Raises:
        ValueError: If it does not; the message names algorithms that do.
    """
    from gymnasium.spaces import Box

    continuous = isinstance(actions, Box)
    if not (ALGORITHMS[name].continuous if continuous else ALGORITHMS[name].discrete):
        kind = "continuous" if continuous else "discrete"
        others = _taking(continuous)
        raise ValueError(f"algo must take the {kind} actions of {env}, got {name}; take {' or '.join(others)}")


def _taking(continuous: bool) -> Sequence[str]:
    return [name for name, one in ALGORITHMS.items() if (one.continuous if continuous else one.discrete)][:3]
