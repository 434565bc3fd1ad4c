"""Hyper-parameters for small environments, at sizes that train in minutes on a CPU; as rl-zoo3 writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PENDULUM = {"n_timesteps": 5000, "learning_rate": 1e-3}
_POINT = {
    "learning_rate": 1e-3,
    "batch_size": 128,
    "learning_starts": 300,
    "buffer_size": 100_000,
    "policy_kwargs": "dict(net_arch=[64, 64])",
}
_GATHER = {
    "n_timesteps": 40_000,
    "n_envs": 8,
    "learning_rate": 1e-3,
    "n_steps": 250,
    "batch_size": 250,
}

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "Pendulum-v1": {
        "sac": {**_PENDULUM, "policy_kwargs": "dict(net_arch=[64, 64])"},
        # A layer less, so that both have about as many parameters.
        "fourier-sac": {**_PENDULUM, "policy_kwargs": "dict(net_arch=[64], fourier_dim=64, sigma=0.03)"},
    },
    "vl_rl/PointTrajectory-v0": {"sac": {**_POINT, "n_timesteps": 10_000, "gamma": 0.9}},
    "vl_rl/PointReacher-v0": {"sac": {**_POINT, "n_timesteps": 20_000, "gamma": 0.97}},
    "vl_rl/PointGather-v0": {"hippo": {**_GATHER, "manager_batch_size": 25}, "ppo": _GATHER},
}
"""Hyper-parameters by environment and algorithm. What is missing has the defaults of the algorithm."""

_TIMESTEPS = 20_000


def preset(env: str, algo: str) -> Mapping[str, Any]:
    """Hyper-parameters for an environment and an algorithm; empty if there are none."""
    return PRESETS.get(env, {}).get(algo, {})


def timesteps(hyperparameters: Mapping[str, Any]) -> int:
    """Environment steps that hyper-parameters name, or 20,000."""
    return int(float(hyperparameters.get("n_timesteps", _TIMESTEPS)))
