"""Hyper-parameters for small environments, at sizes that train in minutes on a CPU; as rl-zoo3 writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SMALL_SAC = {"learning_rate": 1e-3, "policy_kwargs": "dict(net_arch=[64, 64])"}

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "Pendulum-v1": {
        "sac": {"n_timesteps": 6000, **_SMALL_SAC},
    },
}
"""Hyper-parameters by environment and algorithm. What is missing has the defaults of the algorithm."""

_TIMESTEPS = 20_000


def preset(env: str, algo: str) -> Mapping[str, Any]:
    """Hyper-parameters for an environment and an algorithm; empty if there are none."""
    return PRESETS.get(env, {}).get(algo, {})


def timesteps(hyperparameters: Mapping[str, Any]) -> int:
    """Environment steps that hyper-parameters name, or 20,000."""
    return int(float(hyperparameters.get("n_timesteps", _TIMESTEPS)))
