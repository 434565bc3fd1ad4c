"""Algorithms of stable-baselines3 with policies of Fourier features by name, and a learning rate for each part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from torch import Tensor, nn

from vl_rl.common.compiled import PlainNames
from vl_rl.common.finite import FiniteInputs
from vl_rl.common.learning_rates import SeparateLearningRates
from vl_rl.fourier import policies
from vl_rl.fourier.features import FourierFeatures

_SCALING_ROWS = 1000


class _FourierAlgorithm(SeparateLearningRates, FiniteInputs, PlainNames):
    """Mixin of all algorithms: the scale of ``sigma="auto"``, and what is logged of the frequencies."""

    scaled = False
    """True once the scale of the inputs has been measured; kept by ``save`` and ``load``."""

    def train(self, *args: Any, **kwargs: Any) -> None:
        """Update the networks; before the first time, measure the scale of the inputs where sigma is ``"auto"``."""
        if not self.scaled:
            automatic = [part for _, part in _features(self.policy) if part.sigma == "auto"]  # type: ignore[attr-defined]
            if automatic:
                _set_scales(automatic, lambda: self._pass_inputs())
            self.scaled = True
        super().train(*args, **kwargs)  # type: ignore[misc]

    def dump_logs(self, *args: Any, **kwargs: Any) -> None:
        """Log the norm and the mean frequency of B in each network, and what the algorithm logs."""
        for name, part in _features(self.policy):  # type: ignore[attr-defined]
            if "target" not in name:
                self.logger.record(f"fourier/{name}_norm", float(part.B.detach().norm()))  # type: ignore[attr-defined]
                self.logger.record(f"fourier/{name}_frequency", part.mean_frequency())  # type: ignore[attr-defined]
        super().dump_logs(*args, **kwargs)  # type: ignore[misc]

    def _pass_inputs(self) -> None:
        """Pass inputs seen so far through all networks."""
        policy: Any = self.policy  # type: ignore[attr-defined]
        if (buffer := getattr(self, "rollout_buffer", None)) is not None:
            observations = next(buffer.get()).observations
            policy.predict_values(observations)
            policy.get_distribution(observations)
            return
        batch = self.replay_buffer.sample(_SCALING_ROWS, env=self._vec_normalize_env)  # type: ignore[attr-defined]
        for name in ("q_net", "q_net_target", "actor", "actor_target"):
            if hasattr(policy, name):
                getattr(policy, name)(batch.observations)
        for name in ("critic", "critic_target"):
            if hasattr(policy, name):
                getattr(policy, name)(batch.observations, batch.actions)


def _features(policy: nn.Module) -> list[tuple[str, FourierFeatures]]:
    """Fourier features of a policy, by the name of their network."""
    found = []
    for path, part in policy.named_modules():
        if isinstance(part, FourierFeatures):
            names = path.removesuffix(".0").split(".")
            shown = {"latent_pi": "actor", "mu": "actor", "policy_net": "actor", "value_net": "critic"}
            name = shown.get(names[-1], names[-1])
            found.append((f"target_{name}" if "target" in names[0] else name, part))
    return found


@torch.no_grad()
def _set_scales(parts: list[FourierFeatures], pass_inputs: Any) -> None:
    def measure(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(part, FourierFeatures)
        part.set_scale(inputs[0].movedim(part.dim, -1).flatten(0, -2))

    hooks = [part.register_forward_pre_hook(measure) for part in parts]
    try:
        pass_inputs()
    finally:
        for hook in hooks:
            hook.remove()


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
