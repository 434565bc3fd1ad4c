"""A moving average of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a model's floating-point weights and buffers.

    It starts faster, so that the first weights do not linger: update ``n`` decays by ``(1 + n) / (10 + n)`` at most.

    Args:
        model: Whose weights.
        decay: What is kept of the average at each update.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.tensors = {name: value.detach().clone() for name, value in _floating(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module, updates: int) -> None:
        """Move towards the model's weights, after so many updates."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        now = _floating(model)
        names = list(self.tensors)
        torch._foreach_lerp_([self.tensors[n] for n in names], [now[n] for n in names], 1 - decay)

    @torch.no_grad()
    def become(self, model: nn.Module) -> None:
        """Give a model the average for its weights."""
        for name, value in model.state_dict().items():
            if name in self.tensors:
                value.copy_(self.tensors[name])


def _floating(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
