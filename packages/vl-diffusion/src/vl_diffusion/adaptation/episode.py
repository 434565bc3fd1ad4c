"""Adaptation to one group of images. `Episode.run` is the whole algorithm.

The objective depends on the model through its outputs alone. Its gradient at the outputs is summed over all draws
first, part by part, and then goes through the model in one backward pass, instead of one for every part.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from vl_diffusion.adaptation.adapted_parameters import AdaptedParameters
from vl_diffusion.adaptation.gates import Gate
from vl_diffusion.adaptation.losses import AdaptationLoss, Context
from vl_diffusion.adaptation.selection import Weights

BatchNorm = Literal["source", "batch"]
"""Normalize with the statistics of training, or with those of the images that go through the model together: all that
share an update, or each alone where each has weights of its own."""


_LARGEST_GRADIENT = 1.0
"""Magnitude that the largest gradient at a float16 model's outputs is raised to, far from both ends of its range."""


@dataclass(eq=False)
class Episode:
    """B images, with one set of adapted parameters for all of them or one for each.

    Attributes:
        model: The model as it was given.
        buffers: Copies of its buffers, which it is called with instead.
        inputs: Its input for each image.
        parameters: One for all images if they share weights, else one for each.
        shared: Whether they share weights.
        objective: The loss that is minimized.
        steps: Updates.
        gate: Decides for each image that has weights of its own, or None.
    """

    model: nn.Module
    buffers: dict[str, Tensor]
    inputs: Sequence[Tensor]
    parameters: Sequence[AdaptedParameters]
    shared: bool
    objective: AdaptationLoss
    steps: int
    gate: Gate | None
    losses: Tensor = field(init=False)
    """float32 ``(B, steps)``, NaN where there was no update."""

    updates: Tensor = field(init=False)
    """int64 ``(B,)``, updates that were kept."""

    restored: Tensor = field(init=False)
    """int64 ``(B,)``, updates that were undone because a number was not finite."""

    def __post_init__(self) -> None:
        count = len(self.inputs)
        self.losses = torch.full((count, self.steps), torch.nan)
        self.updates, self.restored = torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.long)

    def run(self, context: Context) -> tuple[Tensor, Tensor]:
        """Adapt to all images: predict, differentiate the loss, step, predict again, and keep the update or undo it.

        Args:
            context: All B images, and the model's outputs for them so far.

        Returns:
            Outputs ``(B, ...)``, and whether they are an adapted model's, bool ``(B,)``.
        """
        results = context.source.clone()
        adapted = torch.zeros(len(results), dtype=torch.bool)
        admitted = torch.ones_like(adapted) if self.gate is None else self.gate.admits(context).cpu()
        active = admitted.nonzero().flatten()
        if len(active) < len(results):
            context = context.select(active)
        predictions = self.predict(active) if len(active) else []
        for update in range(self.steps):
            if not len(active):
                break
            # The loss and its gradient at the outputs: calls of the denoiser, none of the model.
            losses, gradients = self._differentiate(predictions, context, update)
            if gradients is None:
                break
            # One backward pass through the model, and one step of each optimizer.
            scales = [_raising_scale(gradient, one.dtype) for gradient, one in zip(gradients, predictions, strict=True)]
            scaled = [scale * gradient for scale, gradient in zip(scales, gradients, strict=True)]
            torch.autograd.backward(predictions, [g.to(one) for g, one in zip(scaled, predictions, strict=True)])
            parameters = self._parameters_of(active)
            for one, scale in zip(parameters, scales, strict=True):
                one.divide_model_gradients(scale)
            finite = self._drop_non_finite_gradients(parameters, losses)
            self.losses[active, update] = losses.where(finite, torch.nan)
            before = [one.snapshot() for one in parameters]
            for one in parameters:
                one.step()
            # The graph of these predictions serves the next update.
            with torch.set_grad_enabled(update + 1 < self.steps):
                predictions = self.predict(active)
            outputs = torch.cat(predictions).detach()
            finite &= torch.isfinite(outputs).flatten(1).all(1).cpu()
            keeps, continues = self._judge(context, outputs, finite)
            self._undo(parameters, before, keeps)
            self._report_non_finite(active[~finite])
            kept = active[keeps]
            results[kept], adapted[kept] = outputs[keeps].to(results), True
            self.updates[kept] += 1
            if not continues.all():
                rest = continues.nonzero().flatten()
                predictions = [predictions[0][rest]] if self.shared else [predictions[i] for i in rest.tolist()]
                active, context = active[rest], context.select(rest)
        return results, adapted

    @torch.no_grad()
    def source(self) -> Tensor:
        """Outputs ``(B, ...)`` of the model as it was given."""
        if self.shared:
            return evaluate(self.model, self.buffers, torch.stack(list(self.inputs)))
        return torch.cat([self._predict_one(i, {}) for i in range(len(self.inputs))])

    def predict(self, images: Tensor) -> list[Tensor]:
        """Outputs of the adapted model for these images, int64 ``(n,)``: in one piece, or each alone.

        Pieces have graphs of their own, so that a backward pass of one image leaves the others' graphs alone.
        """
        if self.shared:
            inputs = torch.stack([self.inputs[i] for i in images.tolist()])
            return [evaluate(self.model, self.parameters[0].model_weights() | self.buffers, inputs)]
        return [self._predict_one(i, self.parameters[i].model_weights()) for i in images.tolist()]

    def _differentiate(
        self, predictions: Sequence[Tensor], context: Context, update: int
    ) -> tuple[Tensor, list[Tensor] | None]:
        """Losses ``(n,)``, and their float32 gradients at the predictions; None if the objective has no part."""
        if not all(prediction.requires_grad for prediction in predictions):
            raise ValueError("no adapted parameter has an effect on the model's output; choose others with adapt")
        output = torch.cat(list(predictions)).detach().float().to(context.source.device).requires_grad_()
        losses = torch.zeros(len(output))
        # Images that share weights count equally, whatever their number.
        share = 1 / len(output) if self.shared else 1.0
        for part in self.objective.parts(output, context, update):
            # Only one part's activations are ever kept.
            torch.autograd.backward(share * part.sum())
            losses += part.detach().float().cpu()
        if output.grad is None:
            return losses, None
        return losses, list(torch.split(output.grad, [len(one) for one in predictions]))

    def _drop_non_finite_gradients(self, parameters: Sequence[AdaptedParameters], losses: Tensor) -> Tensor:
        """Finite losses and gradients, bool ``(n,)``; the others' gradients do not reach the optimizer's memory."""
        finite = torch.isfinite(losses) & torch.tensor([one.is_finite() for one in parameters])
        if self.shared:
            finite[:] = finite.all()
        for one, is_finite in zip(parameters, finite.tolist(), strict=not self.shared):
            if not is_finite:
                one.optimizer.zero_grad()
        return finite

    def _judge(self, context: Context, outputs: Tensor, finite: Tensor) -> tuple[Tensor, Tensor]:
        """Images whose update is kept, and those of them with a next update, bool ``(n,)`` each."""
        if self.shared and not finite.all():
            finite[:] = False
        if self.gate is None or not finite.any():
            return finite, finite
        keeps = finite & self.gate.keeps(context, outputs).cpu()
        return keeps, keeps & ~self.gate.stops(context, outputs).cpu()

    def _undo(self, parameters: Sequence[AdaptedParameters], before: Sequence[Sequence[Tensor]], keeps: Tensor) -> None:
        for one, values, kept in zip(parameters, before, keeps.tolist(), strict=not self.shared):
            if not kept:
                one.restore(values)

    def _report_non_finite(self, images: Tensor) -> None:
        if len(images):
            warnings.warn(
                f"a loss, gradient or output of {len(images)} images was not finite: their weights went back "
                "to the last good ones; lower the learning rate, or compute in float32",
                RuntimeWarning,
                stacklevel=2,
            )
            self.restored[images] += 1

    def _predict_one(self, image: int, weights: Weights) -> Tensor:
        return evaluate(self.model, weights | self.buffers, self.inputs[image][None])

    def _parameters_of(self, active: Tensor) -> list[AdaptedParameters]:
        return list(self.parameters) if self.shared else [self.parameters[i] for i in active.tolist()]


def evaluate(model: nn.Module, weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """A model's output ``(B, ...)`` with other weights and buffers than its own.

    Args:
        model: The model. It returns a tensor; an output with ``logits``, as attribute or key; torchvision's mapping
            with ``out``; or a tuple or list that begins with one of these.
        weights: Parameters and buffers by name.
        inputs: ``(B, ...)``.

    Raises:
        TypeError: If the output is no tensor and holds none.
    """
    output = functional_call(model, weights, (inputs,))
    found = _predictions(output)
    if not isinstance(found, Tensor):
        raise TypeError(
            f"the model must return a tensor, an output with logits, or a tuple that begins with one, got "
            f"{type(output).__name__}; wrap it in a module that returns its logits"
        )
    return found


def _predictions(output: Any) -> Any:
    """The predictions among what a model returns."""
    if isinstance(output, Mapping):
        return output.get("logits", output.get("out"))
    if hasattr(output, "logits"):
        return output.logits
    return _predictions(output[0]) if isinstance(output, tuple | list) and output else output


def _raising_scale(gradient: Tensor, dtype: torch.dtype) -> float:
    """A power of two, 1 or more, that keeps small gradients of a float16 model from vanishing in its backward pass."""
    largest = float(gradient.abs().max())
    if dtype != torch.float16 or not 0 < largest < _LARGEST_GRADIENT:
        return 1.0
    return float(2 ** math.floor(math.log2(_LARGEST_GRADIENT / largest)))


@contextmanager
def evaluation_mode(model: nn.Module, batch_norm: BatchNorm) -> Iterator[dict[str, Tensor]]:
    """Put a model into evaluation mode; yields copies of its buffers to call it with, so that its own stay unchanged.

    Its layers return to their own modes afterwards.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    if batch_norm == "batch":
        # In training mode a layer takes the batch's statistics, and writes them into its buffers.
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.training = True
    try:
        yield buffers
    finally:
        for module, training in modes.items():
            module.training = training
