"""The updates for some images that are adapted to together.

The objective depends on the model through its outputs alone. Its gradient in them is summed over all draws first, part
by part, and then goes back through the model in one pass, instead of one for every part.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vl_diffusion.adaptation.adapted_parameters import AdaptedParameters
from vl_diffusion.adaptation.gates import Gate
from vl_diffusion.adaptation.losses import AdaptationLoss, Context
from vl_diffusion.adaptation.selection import Weights


@dataclass(eq=False)
class Episode:
    """B images, and either one `AdaptedParameters` for all or one for each.

    Attributes:
        model: The model as it was given.
        buffers: What it is called with in place of its own buffers.
        inputs: What it takes, an image each.
        moving: One for all images if they share weights, else one for each.
        shared: Whether they do.
        objective: What is minimized.
        steps: Updates.
        gate: Decides for each image that has weights of its own, or None.
    """

    model: nn.Module
    buffers: dict[str, Tensor]
    inputs: Sequence[Tensor]
    moving: Sequence[AdaptedParameters]
    shared: bool
    objective: AdaptationLoss
    steps: int
    gate: Gate | None
    losses: Tensor = field(init=False)
    """float32 ``(B, steps)``, NaN where there was no update."""

    updates: Tensor = field(init=False)
    """int64 ``(B,)``."""

    restored: Tensor = field(init=False)
    """int64 ``(B,)``."""

    def __post_init__(self) -> None:
        count = len(self.inputs)
        self.losses = torch.full((count, self.steps), torch.nan)
        self.updates, self.restored = torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.long)

    def outputs(self, images: Tensor) -> list[Tensor]:
        """What the model now makes of these images, int64 ``(n,)``: in one piece, or each alone.

        Pieces have graphs of their own: when an image's weights go back, only its own graph is spent.
        """
        if self.shared:
            inputs = torch.stack([self.inputs[i] for i in images.tolist()])
            return [evaluate(self.model, self.moving[0].model_weights() | self.buffers, inputs)]
        return [self._alone(i, self.moving[i].model_weights()) for i in images.tolist()]

    @torch.no_grad()
    def source(self) -> Tensor:
        """What the model as it was given makes of all images."""
        if self.shared:
            return evaluate(self.model, self.buffers, torch.stack(list(self.inputs)))
        return torch.cat([self._alone(i, {}) for i in range(len(self.inputs))])

    def run(self, context: Context) -> tuple[Tensor, Tensor]:
        """Adapt.

        Args:
            context: All B images, and the model's outputs for them so far.

        Returns:
            Outputs ``(B, ...)``, and whether they are adapted ones, bool ``(B,)``.
        """
        current = context.source.clone()
        adapted = torch.zeros(len(current), dtype=torch.bool)
        admitted = torch.ones_like(adapted) if self.gate is None else self.gate.admits(context).cpu()
        active = admitted.nonzero().flatten()
        if len(active) < len(current):
            context = context.select(active)
        pieces = self.outputs(active) if len(active) else []
        for update in range(self.steps):
            if not len(active) or not self._differentiate(pieces, context, active, update):
                break
            before = [moving.snapshot() for moving in self._of(active)]
            for moving in self._of(active):
                moving.step()
            with torch.set_grad_enabled(update + 1 < self.steps):
                pieces = self.outputs(active)
            outputs = torch.cat(pieces).detach()
            good = torch.isfinite(outputs).flatten(1).all(1).cpu()
            good &= torch.isfinite(self.losses[active, update])
            if self.shared and not good.all():
                good[:] = False
            kept, going_on = good.clone(), good
            if self.gate is not None and good.any():
                kept &= self.gate.keeps(context, outputs).cpu()
                going_on = kept & ~self.gate.stops(context, outputs).cpu()
            self._go_back(active, before, good, kept)
            chosen = active[kept]
            current[chosen] = outputs[kept].to(current)
            adapted[chosen] = True
            self.updates[chosen] += 1
            if not going_on.all():
                stay = going_on.nonzero().flatten()
                pieces = [pieces[0][stay]] if self.shared else [pieces[i] for i in stay.tolist()]
                active, context = active[stay], context.select(stay)
        return current, adapted

    def _differentiate(self, pieces: Sequence[Tensor], context: Context, active: Tensor, update: int) -> bool:
        """Leave the gradient of every active image's loss in what moves; False if there is no loss."""
        if not all(piece.requires_grad for piece in pieces):
            raise ValueError("no parameter that moves has an effect on the model's output; choose others with adapt")
        leaf = torch.cat(list(pieces)).detach().float().to(context.source.device).requires_grad_()
        losses = torch.zeros(len(active))
        # Images that share weights count equally, whatever their number.
        share = 1 / len(active) if self.shared else 1.0
        for part in self.objective.parts(leaf, context, update):
            torch.autograd.backward(share * part.sum())
            losses += part.detach().float().cpu()
        if leaf.grad is None:
            return False
        self.losses[active, update] = losses
        gradients = torch.split(leaf.grad.to(pieces[0]), [len(piece) for piece in pieces])
        torch.autograd.backward(list(pieces), list(gradients))
        moving = self._of(active)
        finite = torch.isfinite(losses) & torch.tensor([one.is_finite() for one in moving])
        if self.shared:
            finite[:] = finite.all()
        # What is no number must not reach the optimizer's memory.
        for one, is_finite in zip(moving, finite.tolist(), strict=not self.shared):
            if not is_finite:
                one.optimizer.zero_grad()
        self.losses[active[~finite], update] = torch.nan
        return True

    def _alone(self, image: int, weights: Weights) -> Tensor:
        return evaluate(self.model, weights | self.buffers, self.inputs[image][None])

    def _of(self, active: Tensor) -> list[AdaptedParameters]:
        return list(self.moving) if self.shared else [self.moving[i] for i in active.tolist()]

    def _go_back(self, active: Tensor, before: Sequence[Sequence[Tensor]], good: Tensor, kept: Tensor) -> None:
        """Restore the weights of the images whose outcome is not kept, and say so where it was no number."""
        if not good.all():
            warnings.warn(
                f"a loss, gradient or output of {int((~good).sum())} images was not finite: their weights went back "
                "to the last good ones; lower the learning rate, or compute in float32",
                RuntimeWarning,
                stacklevel=2,
            )
            self.restored[active[~good]] += 1
        for place, (moving, values) in enumerate(zip(self._of(active), before, strict=True)):
            if not kept[place]:
                moving.restore(values)


def evaluate(model: nn.Module, weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """A model's output ``(B, ...)`` with other weights and buffers than its own.

    Raises:
        TypeError: If the output is no tensor and holds none.
    """
    output = functional_call(model, weights, (inputs,))
    output = getattr(output, "logits", output)
    if not isinstance(output, Tensor):
        raise TypeError(f"the model must return a tensor, or an output with .logits, got {type(output).__name__}")
    return output
