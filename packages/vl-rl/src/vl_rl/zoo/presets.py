"""Hyper-parameters for small environments, at sizes that train in minutes on a CPU; as rl-zoo3 writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_POINT = {"learning_starts": 300, "buffer_size": 100_000, "batch_size": 128}
_GATHER = {
    "n_timesteps": 40_000,
    "n_envs": 8,
    "learning_rate": 1e-3,
    "n_steps": 250,
    "batch_size": 250,
}


def _off_policy(widths: list[int], sigma: float, **common: Any) -> dict[str, dict[str, Any]]:
    """Settings that algorithms with a replay buffer share, so that a comparison is fair.

    With Fourier features, their layer takes the place of the first hidden one.
    """
    first, *rest = widths
    plain = f"dict(net_arch={widths})"
    fourier = f"dict(net_arch={rest}, fourier_dim={first}, sigma={sigma})"
    return {
        prefix + name: {**common, "policy_kwargs": fourier if prefix else plain}
        for name in ("sac", "td3", "ddpg")
        for prefix in ("", "fourier-")
    }


PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "Pendulum-v1": _off_policy([64, 64], 0.03, n_timesteps=5000, learning_rate=1e-3),
    "vl_rl/PointTrajectory-v0": _off_policy(
        [400, 300], 0.03, n_timesteps=10_000, learning_rate=3e-3, gamma=0.9, **_POINT
    ),
    "vl_rl/PointReacher-v0": _off_policy([64, 64], 0.03, n_timesteps=20_000, learning_rate=1e-3, gamma=0.97, **_POINT),
    "vl_rl/PointGather-v0": {"hippo": {**_GATHER, "manager_batch_size": 25}, "ppo": _GATHER},
}
"""Hyper-parameters by environment and algorithm. What is missing has the defaults of the algorithm."""

_TIMESTEPS = 20_000


def preset(env: str, algo: str) -> Mapping[str, Any]:
    """Hyper-parameters for an environment and an algorithm; empty if there are none."""
    return PRESETS.get(env, {}).get(algo, {})


def timesteps(hyperparameters: Mapping[str, Any], env: str) -> int:
    """Environment steps that hyper-parameters name, else those of any algorithm built in for the environment."""
    built_in = [own["n_timesteps"] for own in PRESETS.get(env, {}).values()]
    return int(float(hyperparameters.get("n_timesteps", (built_in or [_TIMESTEPS])[0])))
