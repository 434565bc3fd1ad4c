"""What an error between predicted and true noise is: squared, absolute, or Huber, averaged over an image's values."""

from __future__ import annotations

from typing import Literal, get_args

Objective = Literal["l2", "l1", "huber"]
"""Mean square, mean absolute value, or mean Huber loss with threshold 1; see `vl_core.kernels.noise_error`."""


def check_objective(objective: str) -> None:
    """Raise ValueError unless `objective` is a known name."""
    if objective not in get_args(Objective):
        raise ValueError(f"objective must be one of {', '.join(get_args(Objective))}, got {objective!r}")
