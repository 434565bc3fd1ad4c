"""The algorithms that the command knows by name; nothing is imported before one is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    actions: Sequence[str] = ("Box",)
    """Names of the spaces of actions that it takes."""

    def load(self) -> type[BaseAlgorithm]:
        """Import its class."""
        module, _, name = self.path.partition(":")
        found: type[BaseAlgorithm] = getattr(import_module(module), name)
        return found

    def policy_for(self, observations: Space[Any]) -> str:
        """Name of the policy for an observation space: vectors, images or dictionaries.

        Raises:
            ValueError: If it is a space that no policy takes.
        """
        from gymnasium.spaces import Dict, Graph, OneOf, Sequence, Text, Tuple
        from stable_baselines3.common.preprocessing import is_image_space

        if isinstance(observations, Tuple | Graph | OneOf | Sequence | Text):
            raise ValueError(
                f"observations must be of a space that policies take, got {type(observations).__name__}; wrap the "
                "environment, for instance in gymnasium.wrappers.FlattenObservation"
            )
        kind = "MultiInput" if isinstance(observations, Dict) else "Cnn" if is_image_space(observations) else "Mlp"
        return f"{self.policy_prefix}{kind}Policy"

    def with_own_policy(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Hyper-parameters in which a policy of stable-baselines3, by its short name, is the one of this algorithm.

        So one file serves an algorithm with Fourier features and the same without.
        """
        given = dict(hyperparameters)
        if given.get("policy") in ("MlpPolicy", "CnnPolicy", "MultiInputPolicy"):
            given["policy"] = self.policy_prefix + given["policy"]
        return given


_ON_POLICY: dict[str, Any] = {"off_policy": False, "actions": ("Box", "Discrete", "MultiDiscrete", "MultiBinary")}
_DISCRETE: dict[str, Any] = {"actions": ("Discrete",)}
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
    kind = type(actions).__name__
    if kind not in ALGORITHMS[name].actions:
        said = {"Box": "continuous", "Discrete": "discrete"}.get(kind, kind)
        others = [other for other, one in ALGORITHMS.items() if kind in one.actions][:3]
        advice = f"take {' or '.join(others)}" if others else "no algorithm here takes them"
        raise ValueError(f"algo must take the {said} actions of {env}, got {name}; {advice}")


def default_algorithms(actions: Space[Any]) -> tuple[str, str]:
    """Two algorithms that take the actions, with Fourier features and without."""
    kind = type(actions).__name__
    name = next(name for name in ("sac", "dqn", "ppo") if kind in ALGORITHMS[name].actions or name == "ppo")
    return f"fourier-{name}", name
