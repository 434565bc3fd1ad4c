"""Algorithms of stable-baselines3 with policies of Fourier features by name, and a learning rate for each part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from torch import Tensor, nn

from vl_rl.common.compiled import PlainNames
from vl_rl.common.finite import FiniteInputs
from vl_rl.common.learning_rates import SeparateLearningRates
from vl_rl.fourier import policies
from vl_rl.fourier.features import FourierFeatures

_SCALING_ROWS = 1000
_ENOUGH = 100
"""Number of observations after which the scale of ``sigma="auto"`` is final."""


class _FourierAlgorithm(SeparateLearningRates, FiniteInputs, PlainNames):
    """Mixin of all algorithms: the scale of ``sigma="auto"``, and what is logged of the frequencies."""

    scaled = False
    """True once the scale of the inputs is final; kept by ``save`` and ``load``."""

    _collected: Any = None
    """Observations of the rollouts so far, until the scale is final."""

    def train(self, *args: Any, **kwargs: Any) -> None:
        """Update the networks; before, measure the scale of the inputs where sigma is ``"auto"``.

        The scale is final from 100 observations on; with fewer, it is measured anew before the next update.
        """
        if not self.scaled:
            automatic = _automatic(self.policy)  # type: ignore[attr-defined]
            self.scaled = not automatic or self._measure_scales(automatic) >= _ENOUGH
        if self.scaled:
            self._collected = None
        super().train(*args, **kwargs)  # type: ignore[misc]

    def set_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Take parameters; a final scale among them stays as it is."""
        super().set_parameters(*args, **kwargs)
        self.scaled = all(int(part.measured) >= _ENOUGH for part in _automatic(self.policy))  # type: ignore[attr-defined]

    def dump_logs(self, *args: Any, **kwargs: Any) -> None:
        """Log the norm and the mean frequency of B in each network, and what the algorithm logs."""
        for name, part in _features(self.policy):  # type: ignore[attr-defined]
            if not name.startswith("target"):
                self.logger.record(f"fourier/{name}_norm", float(part.B.detach().norm()))  # type: ignore[attr-defined]
                self.logger.record(f"fourier/{name}_frequency", part.mean_frequency())  # type: ignore[attr-defined]
        super().dump_logs(*args, **kwargs)  # type: ignore[misc]

    @torch.no_grad()
    def _measure_scales(self, parts: list[FourierFeatures]) -> int:
        """Set the scale of the inputs from the observations so far, and count these."""
        policy: Any = self.policy  # type: ignore[attr-defined]
        on_policy = getattr(self, "rollout_buffer", None) is not None
        if on_policy:
            self._collect_rollout()
            observations = _map(self.rollout_buffer.to_torch, self._collected)  # type: ignore[attr-defined]
            count = len(next(iter(observations.values())) if isinstance(observations, dict) else observations)
        else:
            buffer = self.replay_buffer  # type: ignore[attr-defined]
            count = buffer.size() * buffer.n_envs
        if count < 2:
            return count

        def measure(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(part, FourierFeatures)
            part.set_scale(inputs[0].movedim(part.dim, -1).flatten(0, -2), observations=count)

        hooks = [part.register_forward_pre_hook(measure) for part in parts]
        try:
            # Compiled parts would pass the hooks over.
            with torch.compiler.set_stance("force_eager"):
                if on_policy:
                    policy.predict_values(observations)
                    policy.get_distribution(observations)
                else:
                    self._pass_batch(buffer.sample(_SCALING_ROWS, env=self._vec_normalize_env))  # type: ignore[attr-defined]
        finally:
            for hook in hooks:
                hook.remove()
        return count

    def _collect_rollout(self) -> None:
        """Add the observations of the present rollout ``(N, ...)`` to those before."""
        buffer = self.rollout_buffer  # type: ignore[attr-defined]
        if isinstance(buffer.observations, dict):
            new: Any = {key: part.reshape(-1, *buffer.obs_shape[key]) for key, part in buffer.observations.items()}
        else:
            new = buffer.observations.reshape(-1, *buffer.obs_shape)
        old = self._collected
        if old is None:
            self._collected = _map(np.copy, new)
        elif isinstance(new, dict):
            self._collected = {key: np.concatenate([old[key], part]) for key, part in new.items()}
        else:
            self._collected = np.concatenate([old, new])

    def _pass_batch(self, batch: Any) -> None:
        """Pass a batch of the replay buffer through all networks."""
        policy: Any = self.policy  # type: ignore[attr-defined]
        for name in ("q_net", "q_net_target", "actor", "actor_target"):
            if hasattr(policy, name):
                getattr(policy, name)(batch.observations)
        for name in ("critic", "critic_target"):
            if hasattr(policy, name):
                getattr(policy, name)(batch.observations, batch.actions)


def _map(function: Any, observations: Any) -> Any:
    """Apply a function to an array of observations, or to each in a dict."""
    if isinstance(observations, dict):
        return {key: function(part) for key, part in observations.items()}
    return function(observations)


def _automatic(policy: nn.Module) -> list[FourierFeatures]:
    """Fourier features with ``sigma="auto"``, those of target networks included."""
    return [part for _, part in _features(policy) if isinstance(part.sigma, str)]


_SHOWN = {"latent_pi": "actor", "mu": "actor", "policy_net": "actor", "value_net": "critic"}
_ENCODERS = {"features_extractor": "actor", "pi_features_extractor": "actor", "vf_features_extractor": "critic"}


def _features(policy: nn.Module) -> list[tuple[str, FourierFeatures]]:
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
