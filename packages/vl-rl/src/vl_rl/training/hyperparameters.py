"""Hyper-parameters as rl-zoo3 writes them: read from YAML, checked, and turned into arguments.

Nothing in a file is evaluated. Text such as ``dict(net_arch=[64], activation_fn=nn.ReLU)`` is parsed, and may hold
literals, calls of ``dict`` and names of classes; a dotted name is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RUN_KEYS = ("n_timesteps", "n_envs", "normalize", "env_wrapper", "env_kwargs", "noise_type", "noise_std")
"""Keys that describe the run rather than the algorithm."""


def algorithm_arguments(raw: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Arguments of the algorithm."""
    return {name: value for name, value in raw.items() if name not in RUN_KEYS}
