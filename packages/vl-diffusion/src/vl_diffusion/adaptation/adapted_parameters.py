"""Copies of what moves, of a model and perhaps of its teacher, with the optimizer that moves them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from vl_diffusion.adaptation.selection import ParameterSelection, Weights

OptimizerName = Literal["adam", "sgd"]
"""Adam; or stochastic gradient descent with momentum 0.9."""

Optimizer = Callable[[Sequence[Tensor]], torch.optim.Optimizer]
"""From the tensors that move to what moves them."""


@dataclass(frozen=True)
class AdaptationConfig:
    """How to make a `AdaptedParameters`, always at the weights that were given."""

    model: ParameterSelection
    denoiser: ParameterSelection | None
    optimizer: OptimizerName | Optimizer
    learning_rate: float
    restore_rate: float = 0.0
    """The share of the way back to the given weights that every step ends with."""

    def __call__(self) -> AdaptedParameters:
        return AdaptedParameters(self)


class AdaptedParameters:
    """Tensors on their way from the given weights to better ones."""

    def __init__(self, recipe: AdaptationConfig) -> None:
        self._recipe = recipe
        self._model = recipe.model.start()
        self._denoiser = {} if recipe.denoiser is None else recipe.denoiser.start()
        self.names = [*self._model, *(f"denoiser.{name}" for name in self._denoiser)]
        self.tensors = [*self._model.values(), *self._denoiser.values()]
        # Nothing where there is no pull.
        self._start = self.snapshot() if recipe.restore_rate else []
        self.optimizer = _optimizer(self.tensors, recipe.optimizer, recipe.learning_rate)

    def model_weights(self) -> Weights:
        """All parameters of the model by name, differentiable in what moves."""
        return self._recipe.model.weights(self._model)

    def denoiser_weights(self) -> Weights:
        """Those of the denoising network; none if it does not move."""
        return {} if self._recipe.denoiser is None else self._recipe.denoiser.weights(self._denoiser)

    def is_finite(self) -> bool:
        """Whether all gradients are numbers that can be squared."""
        gradients = [tensor.grad for tensor in self.tensors if tensor.grad is not None]
        # Optimizers square them.
        return all(bool(torch.isfinite(gradient.square().sum())) for gradient in gradients)

    def step(self) -> None:
        """Follow the gradient, go back as far as the recipe says, and forget the gradient."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._pull()

    def snapshot(self) -> list[Tensor]:
        """Copies of the values."""
        return [tensor.detach().clone() for tensor in self.tensors]

    def restore(self, values: Sequence[Tensor]) -> None:
        """Go back to such copies."""
        self.optimizer.zero_grad()
        with torch.no_grad():
            for tensor, value in zip(self.tensors, values, strict=True):
                tensor.copy_(value)

    def branch(self) -> AdaptedParameters:
        """Another that begins at these values, without the optimizer's memory and without a pull."""
        other = AdaptedParameters(replace(self._recipe, restore_rate=0.0))
        other.restore(self.tensors)
        return other

    @torch.no_grad()
    def follow(self, branches: Sequence[AdaptedParameters], share: float) -> None:
        """Go a share of the way to the mean of the branches' values, and back as far as the recipe says."""
        for place, tensor in enumerate(self.tensors):
            tensor.lerp_(torch.stack([branch.tensors[place] for branch in branches]).mean(0), share)
        self._pull()

    def state_dict(self) -> dict[str, Any]:
        """Values and the optimizer's memory."""
        optimizer = copy.deepcopy(self.optimizer.state_dict())
        return {"names": list(self.names), "values": self.snapshot(), "optimizer": optimizer}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave.

        Raises:
            ValueError: If it is of other tensors.
        """
        if missing := {"names", "values", "optimizer"} - state.keys():
            raise ValueError(f"the state must be one of an adapter, and lacks {', '.join(sorted(missing))}")
        shapes = [tuple(value.shape) for value in state["values"]]
        if list(state["names"]) != self.names or shapes != [tuple(tensor.shape) for tensor in self.tensors]:
            raise ValueError("the state is of an adapter that moves other parameters; give it the same settings")
        self.restore(state["values"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))

    @torch.no_grad()
    def _pull(self) -> None:
        for tensor, start in zip(self.tensors, self._start, strict=False):
            tensor.lerp_(start, self._recipe.restore_rate)


def _optimizer(tensors: Sequence[Tensor], kind: OptimizerName | Optimizer, learning_rate: float) -> Any:
    if callable(kind):
        return kind(tensors)
    if kind == "adam":
        return torch.optim.Adam(tensors, lr=learning_rate)
    return torch.optim.SGD(tensors, lr=learning_rate, momentum=0.9)
