"""Algorithms of stable-baselines3 with policies of Fourier features by name, and a learning rate for each part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3

from vl_rl.common.compiled import PlainNames
from vl_rl.common.finite import FiniteInputs
from vl_rl.common.learning_rates import SeparateLearningRates
from vl_rl.fourier import policies
from vl_rl.fourier.networks import named_features
from vl_rl.fourier.scaling import AutomaticScale


class _FourierAlgorithm(AutomaticScale, SeparateLearningRates, FiniteInputs, PlainNames):
    """Mixin of all algorithms: what is logged of the frequencies."""

    def dump_logs(self, *args: Any, **kwargs: Any) -> None:
        """Log the norm and the mean frequency of B in each network, and what the algorithm logs."""
        for name, part in named_features(self.policy):  # type: ignore[attr-defined]
            if not name.startswith("target"):
                self.logger.record(f"fourier/{name}_norm", float(part.B.detach().norm()))  # type: ignore[attr-defined]
                self.logger.record(f"fourier/{name}_frequency", part.mean_frequency())  # type: ignore[attr-defined]
        super().dump_logs(*args, **kwargs)  # type: ignore[misc]


def _aliases(given: Mapping[str, Any], mlp: type, cnn: type, several: type) -> dict[str, Any]:
    own = {"FourierMlpPolicy": mlp, "FourierCnnPolicy": cnn, "FourierMultiInputPolicy": several}
    return {**given, **own}


class FourierSAC(_FourierAlgorithm, SAC):
    """SAC of stable-baselines3 with Fourier features: ``FourierSAC("FourierMlpPolicy", env)``.

    Arguments are those of SAC and of `vl_rl.common.learning_rates.SeparateLearningRates`; ``policy_kwargs`` are those
    of `vl_rl.fourier.policies.FourierSACPolicy`.

    Example:
        >>> model = FourierSAC("FourierMlpPolicy", "Pendulum-v1", policy_kwargs={"sigma": 0.03}, fourier_lr=1e-4)
    """

    policy_aliases: ClassVar[dict[str, Any]] = _aliases(
        SAC.policy_aliases,
        policies.FourierSACPolicy,
        policies.FourierSACCnnPolicy,
        policies.FourierSACMultiInputPolicy,
    )


class FourierTD3(_FourierAlgorithm, TD3):
    """TD3 of stable-baselines3 with Fourier features; see `FourierSAC`."""

    policy_aliases: ClassVar[dict[str, Any]] = _aliases(
        TD3.policy_aliases,
        policies.FourierTD3Policy,
        policies.FourierTD3CnnPolicy,
        policies.FourierTD3MultiInputPolicy,
    )


class FourierDDPG(_FourierAlgorithm, DDPG):
    """DDPG of stable-baselines3 with Fourier features; see `FourierSAC`."""

    policy_aliases: ClassVar[dict[str, Any]] = FourierTD3.policy_aliases


class FourierDQN(_FourierAlgorithm, DQN):
    """DQN of stable-baselines3 with Fourier features; see `FourierSAC`."""

    policy_aliases: ClassVar[dict[str, Any]] = _aliases(
        DQN.policy_aliases,
        policies.FourierDQNPolicy,
        policies.FourierDQNCnnPolicy,
        policies.FourierDQNMultiInputPolicy,
    )


class FourierPPO(_FourierAlgorithm, PPO):
    """PPO of stable-baselines3 with Fourier features, by default in the value network; see `FourierSAC`."""

    policy_aliases: ClassVar[dict[str, Any]] = _aliases(
        PPO.policy_aliases,
        policies.FourierActorCriticPolicy,
        policies.FourierActorCriticCnnPolicy,
        policies.FourierActorCriticMultiInputPolicy,
    )


class FourierA2C(_FourierAlgorithm, A2C):
    """A2C of stable-baselines3 with Fourier features, by default in the value network; see `FourierSAC`."""

    policy_aliases: ClassVar[dict[str, Any]] = FourierPPO.policy_aliases
