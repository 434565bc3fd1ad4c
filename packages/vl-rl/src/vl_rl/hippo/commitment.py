"""Commitments: the number of steps for which the manager keeps a latent.

Li et al., "Sub-policy Adaptation for Hierarchical Reinforcement Learning", ICLR 2020, section 4.3: each commitment is
drawn uniformly from `{T_min, …, T_max}`, so skills cannot come to rely on one length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

State = tuple[NDArray[Any], ...]
"""State that `predict` carries: the latent of each environment, and the steps left for it; both `(n_envs,)` int64."""


def checked_commitment(commitment: Sequence[int]) -> tuple[int, int]:
    """Give the shortest and the longest commitment, or refuse them.

    Args:
        commitment: `(T_min, T_max)` in environment steps, both included.

    Raises:
        ValueError: If these are not two integers with `1 <= T_min <= T_max`.
    """
    values = list(commitment) if isinstance(commitment, Sequence | np.ndarray) else [commitment]
    if len(values) != 2 or any(isinstance(v, bool) or not isinstance(v, int | np.integer) for v in values):
        raise ValueError(f"commitment must be two integers (T_min, T_max), got {commitment!r}; use (5, 15)")
    low, high = int(values[0]), int(values[1])
    if low < 1:
        raise ValueError(f"commitment must have T_min >= 1, got T_min = {low}; a latent is kept for a step at least")
    if low > high:
        raise ValueError(
            f"commitment must have T_min <= T_max, got T_min = {low} and T_max = {high}; use ({high}, {low})"
        )
    return low, high


def draw_commitments(count: int, commitment: tuple[int, int], *, deterministic: bool = False) -> Tensor:
    """Draw `count` commitments from PyTorch's global generator, or give the middle of the range; `(count,)` int64."""
    low, high = commitment
    if deterministic:
        return torch.full((count,), (low + high) // 2)
    return torch.randint(low, high + 1, (count,))


def checked_state(state: State | None, n_envs: int, num_latents: int) -> tuple[Tensor, Tensor]:
    """Turn the state of `predict` into latents and steps left; no state means that every environment must decide.

    Raises:
        ValueError: If the state is for another number of environments, or holds a latent that does not exist.
    """
    if state is None:
        return torch.zeros(n_envs, dtype=torch.int64), torch.zeros(n_envs, dtype=torch.int64)
    if len(state) != 2 or any(np.shape(part) != (n_envs,) for part in state):
        shapes = [np.shape(part) for part in state]
        raise ValueError(
            f"state must hold latents and steps left of shape ({n_envs},) each, got shapes {shapes}; "
            "pass what the last call returned for the same environments, or None at their first step"
        )
    latents, steps_left = (torch.as_tensor(np.asarray(part, dtype=np.int64)) for part in state)
    if latents.min() < 0 or latents.max() >= num_latents:
        raise ValueError(
            f"state must hold latents from 0 to {num_latents - 1}, got {latents.tolist()}; "
            "pass what the last call returned"
        )
    return latents, steps_left
