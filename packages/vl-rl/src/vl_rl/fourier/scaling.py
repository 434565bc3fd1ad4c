"""The scale of ``sigma="auto"``: measured from the observations of training, until there are enough."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vl_rl.fourier.features import FourierFeatures
from vl_rl.fourier.networks import named_features

_SCALING_ROWS = 1000
_ENOUGH = 100
"""Number of observations after which the scale of ``sigma="auto"`` is final."""


class AutomaticScale:
    """Mixin of an algorithm of stable-baselines3: the scale of Fourier features with ``sigma="auto"``.

    It stands before the algorithm among the bases.
    """

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
        super().set_parameters(*args, **kwargs)  # type: ignore[misc]
        self.scaled = all(int(part.measured) >= _ENOUGH for part in _automatic(self.policy))  # type: ignore[attr-defined]

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
    return [part for _, part in named_features(policy) if isinstance(part.sigma, str)]
