"""What an error between predicted and true noise is: squared, absolute, or Huber, averaged over an image's values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

Objective = Literal["l2", "l1", "huber"]

_LOSSES: dict[str, Callable[..., Tensor]] = {"l2": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss}


def check_objective(objective: str) -> None:
    """Raise ValueError unless `objective` is a known name."""
    if objective not in _LOSSES:
        raise ValueError(f"objective must be one of {', '.join(_LOSSES)}, got {objective!r}")


def noise_errors(epsilon: Tensor, noise: Tensor, objective: Objective) -> Tensor:
    """Error of each row, uniform in epsilon-space.

    Args:
        epsilon: Predicted noise, ``(B, C, H, W)`` float32.
        noise: True noise, same shape.
        objective: ``"l2"`` mean squared, ``"l1"`` mean absolute, ``"huber"`` mean Huber loss with threshold 1.

    Returns:
        ``(B,)`` float32, the mean over C, H and W.
    """
    return _LOSSES[objective](epsilon, noise, reduction="none").flatten(1).mean(1)
