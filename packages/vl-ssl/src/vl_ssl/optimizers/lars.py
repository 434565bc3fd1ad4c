"""LARS, SGD with a learning rate for each tensor, after its weights and its gradient.

You, Gitman and Ginsburg, "Large batch training of convolutional networks" (2017), algorithm 1, in the form of MoCo v3's
code: the learning rate is outside of the momentum, as in PyTorch's SGD. The paper and SimCLR's code have it inside,
which differs where the rate changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling.

    With weights ``w``, gradient ``g``, weight decay ``d``, momentum ``m`` and learning rate ``l``, for each tensor::

        u = g + d w
        v = m v + trust |w| / |u| u        (the factor is 1 where a norm is zero)
        w = w - l v

    A group with ``"lars_excluded": True``, for biases and normalization parameters, has factor 1 throughout: plain SGD.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate, at least 0; a group may have its own.
        momentum: At least 0 and below 1.
        weight_decay: At least 0; a group may have its own.
        trust_coefficient: Above 0; the length of a step at learning rate 1, as a share of the weights' norm.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> weights = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> weights.grad = torch.tensor([100.0, 0.0])
        >>> LARS([weights], lr=1.0, momentum=0.0, trust_coefficient=0.1).step()
        >>> weights.tolist()  # a tenth of the norm, 5, against the gradient
        [2.5, 4.0]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "lars_excluded": False,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for name in ("lr", "weight_decay"):
                if not group[name] >= 0:
                    raise ValueError(f"{name} must be at least 0, got {group[name]}")
            if not 0 <= group["momentum"] < 1:
                raise ValueError(f"momentum must be at least 0 and below 1, got {group['momentum']}")
            if not group["trust_coefficient"] > 0:
                raise ValueError(f"trust_coefficient must be above 0, got {group['trust_coefficient']}")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Make one step; ``closure`` computes the loss again, with gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._update(parameters, group)
        return loss

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        steps = [parameter.grad for parameter in parameters if parameter.grad is not None]
        steps = list(torch._foreach_add(steps, parameters, alpha=group["weight_decay"]))
        if not group["lars_excluded"]:
            factors = _trust(parameters, steps, group["trust_coefficient"])
            torch._foreach_mul_(steps, factors)
        if group["momentum"]:
            fresh = [parameter for parameter in parameters if "momentum_buffer" not in self.state[parameter]]
            for parameter in fresh:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, steps)
            steps = buffers
        torch._foreach_add_(parameters, steps, alpha=-group["lr"])


def _trust(parameters: list[Tensor], steps: list[Tensor], coefficient: float) -> list[Tensor]:
    """Factor of each step, a scalar tensor on its device, found without waiting for the device."""
    factors = []
    for weight, step in zip(torch._foreach_norm(parameters), torch._foreach_norm(steps), strict=True):
        ratio = coefficient * weight / step
        factors.append(torch.where((weight > 0) & (step > 0), ratio, torch.ones_like(ratio)))
    return factors
