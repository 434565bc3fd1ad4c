"""Exponential moving average (EMA) of a model's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightEMA:
    """Exponential moving average of a model's floating-point weights and buffers.

    After each update, ``average <- d * average + (1 - d) * weights``. The decay ``d`` warms up, so that the first
    weights do not linger: after update ``n``, from 0, it is at most ``(1 + n) / (10 + n)``.

    Args:
        model: Model to average; the average starts at its weights.
        decay: Share of the average that an update keeps, at least 0 and below 1.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> ema = WeightEMA(model, decay=0.999)
        >>> ema.update(model, 0)  # after each step of the optimizer
        >>> ema.copy_to(model)  # at the end
    """

    def __init__(self, model: nn.Module, decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay}; 0 keeps the last weights")
        self.decay = decay
        self.tensors = {name: value.detach().clone() for name, value in _floating(model).items()}
        """The averages by the names of the model's state dict."""

    @torch.no_grad()
    def update(self, model: nn.Module, update: int) -> None:
        """Move the average towards the model's weights, after this update of the run."""
        decay = min(self.decay, (1 + update) / (10 + update))
        now = _floating(model)
        names = list(self.tensors)
        torch._foreach_lerp_([self.tensors[n] for n in names], [now[n] for n in names], 1 - decay)

    def state_dict(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the model's state dict with averages in place of what is averaged."""
        return {**model.state_dict(), **self.tensors}

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Write the average into a model's weights."""
        for name, value in model.state_dict().items():
            if name in self.tensors:
                value.copy_(self.tensors[name])


def _floating(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
