"""Parameters on their way from the given weights to adapted ones, with their optimizer."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from vl_diffusion.adaptation.selection import ParameterSelection, Weights

OptimizerName = Literal["adam", "sgd"]
"""Adam; or stochastic gradient descent with momentum 0.9."""

Optimizer = Callable[[Sequence[Tensor]], torch.optim.Optimizer]
"""From tensors to an optimizer of them."""


@dataclass(frozen=True)
class AdaptationConfig:
    """The parameters that are adapted, and how."""

    model: ParameterSelection
    """Parameters of the model."""

    denoiser: ParameterSelection | None
    """Parameters of the denoising network; None keeps it frozen."""

    optimizer: OptimizerName | Optimizer
    """The optimizer, or a function that builds one."""

    learning_rate: float
    """Of a named optimizer."""

    restore_rate: float = 0.0
    """Share of the way back to the given weights at the end of every step."""


class AdaptedParameters:
    """Copies of the selected parameters of a model, and perhaps of its denoiser, with an optimizer.

    They begin at the weights that were given, which are never written to.
    """

    def __init__(self, config: AdaptationConfig) -> None:
        self._config = config
        self._model = config.model.start()
        self._denoiser = {} if config.denoiser is None else config.denoiser.start()
        self.names = [*self._model, *(f"denoiser.{name}" for name in self._denoiser)]
        self.tensors = [*self._model.values(), *self._denoiser.values()]
        self._start = self.snapshot() if config.restore_rate else []
        self.optimizer = _make_optimizer(self.tensors, config.optimizer, config.learning_rate)

    def model_weights(self) -> Weights:
        """All parameters of the model by name, differentiable in the adapted ones."""
        return self._config.model.weights(self._model)

    def denoiser_weights(self) -> Weights:
        """All parameters of the denoising network by name; empty if it is frozen."""
        return {} if self._config.denoiser is None else self._config.denoiser.weights(self._denoiser)

    def is_finite(self) -> bool:
        """True if all gradients are finite, and their squares too, which optimizers keep."""
        gradients = [tensor.grad for tensor in self.tensors if tensor.grad is not None]
        return all(bool(torch.isfinite(gradient.square().sum())) for gradient in gradients)

    def divide_model_gradients(self, by: float) -> None:
        """Undo a scale of the gradient at the model's outputs; the denoiser's gradients never had it."""
        for tensor in self._model.values():
            if by != 1 and tensor.grad is not None:
                tensor.grad.div_(by)

    def step(self) -> None:
        """Take an optimizer step, restore a share of the given weights, and zero the gradients."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._restore_share()

    def snapshot(self) -> list[Tensor]:
        """Copies of the values."""
        return [tensor.detach().clone() for tensor in self.tensors]

    def restore(self, values: Sequence[Tensor]) -> None:
        """Return to such copies, and zero the gradients."""
        self.optimizer.zero_grad()
        with torch.no_grad():
            for tensor, value in zip(self.tensors, values, strict=True):
                tensor.copy_(value)

    def branch(self) -> AdaptedParameters:
        """New parameters at these values, with a new optimizer and a restore rate of 0."""
        other = AdaptedParameters(replace(self._config, restore_rate=0.0))
        other.restore(self.tensors)
        return other

    @torch.no_grad()
    def follow(self, branches: Sequence[AdaptedParameters], share: float) -> None:
        """Move a share of the way to the mean of the branches' values, then restore a share of the given weights."""
        for place, tensor in enumerate(self.tensors):
            mean = torch.stack([branch.tensors[place] for branch in branches]).mean(0)
            # The model may have been moved since this tensor was made.
            tensor.lerp_(mean.to(tensor), share)
        self._restore_share()

    def state_dict(self) -> dict[str, Any]:
        """Names, values, and the optimizer's state."""
        optimizer = copy.deepcopy(self.optimizer.state_dict())
        return {"names": list(self.names), "values": self.snapshot(), "optimizer": optimizer}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state from `state_dict`.

        Raises:
            ValueError: If it belongs to other parameters.
        """
        if missing := {"names", "values", "optimizer"} - state.keys():
            raise ValueError(f"the state must be one of an adapter, and lacks {', '.join(sorted(missing))}")
        shapes = [tuple(value.shape) for value in state["values"]]
        if list(state["names"]) != self.names or shapes != [tuple(tensor.shape) for tensor in self.tensors]:
            raise ValueError("the state is of an adapter of other parameters; load it with the same settings")
        self.restore(state["values"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))

    @torch.no_grad()
    def _restore_share(self) -> None:
        for tensor, start in zip(self.tensors, self._start, strict=False):
            tensor.lerp_(start, self._config.restore_rate)


def _make_optimizer(
    tensors: Sequence[Tensor], optimizer: OptimizerName | Optimizer, learning_rate: float
) -> torch.optim.Optimizer:
    if callable(optimizer):
        made = optimizer(tensors)
        closure = inspect.signature(made.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise ValueError(
                f"optimizer must step without a closure, got {type(made).__name__}; use another, such as 'adam'"
            )
        return made
    if optimizer == "adam":
        return torch.optim.Adam(tensors, lr=learning_rate)
    return torch.optim.SGD(tensors, lr=learning_rate, momentum=0.9)
