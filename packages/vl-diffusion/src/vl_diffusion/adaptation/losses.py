"""What is minimized at test time: each objective one class with one method, so that another is one class more.

An objective gives its loss in parts, one a call of the denoising network: each part is differentiated at once, so that
only one call's activations are ever kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vl_diffusion.adaptation.draws import Placement, place_draws, uniform_at
from vl_diffusion.adaptation.evaluator import DifferentiableEvaluator, Draws
from vl_diffusion.adaptation.tasks import ClassificationTask, Task
from vl_diffusion.models.denoiser import condition_rows, unconditional


@dataclass(eq=False)
class Context:
    """Images that are adapted to together.

    Attributes:
        task: What the model predicts.
        feedback: The diffusion model's view of the B images.
        source: The model's outputs before it is adapted to these images, ``(B, ...)``: those of the weights that were
            given or, where weights go on, of those that other images have left.
        memo: What an objective or a gate wants to find again in later updates, ``(B, ...)`` each.
    """

    task: Task
    feedback: DifferentiableEvaluator
    source: Tensor
    memo: dict[str, Tensor] = field(default_factory=dict)

    def select(self, images: Tensor) -> Context:
        """Some of the images, int64 ``(n,)``."""
        memo = {name: value[images.to(value.device)] for name, value in self.memo.items()}
        return Context(self.task, self.feedback.select(images), self.source[images.to(self.source.device)], memo)

    def draws(self, count: int, update: int, time_range: tuple[float, float], placement: Placement = "even") -> Draws:
        """See :func:`~vl_diffusion.adaptation.draws.place_draws`."""
        feedback = self.feedback
        return place_draws(
            feedback.denoiser.schedule,
            count,
            update=update,
            time_range=time_range,
            placement=placement,
            image_ids=feedback.image_ids,
            seed=feedback.seed,
        )


class AdaptationLoss(Protocol):
    """A loss of a model's outputs."""

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        """Parts of the loss, float ``(B,)`` each and differentiable in `output`, whose sum is the loss of each image.

        Args:
            output: The model's outputs as they are now, ``(B, ...)``.
            context: The images.
            update: Which update this is, from 0.
        """
        ...


@dataclass(frozen=True)
class DiffusionTTA:
    """The denoising error under a mixture of conditions (Prabhudesai, Ke, Li, Pathak & Fragkiadaki, 2023).

    The network is given every class's embedding in proportion to its probability, or a map of predictions, and its
    error is averaged over draws.
    """

    draws: int = 32
    """Draws of an image in an update: pairs of a time step and noise."""

    time_range: tuple[float, float] = (0.0, 1.0)
    """The part of the schedule that draws lie in, from 0 (no noise) to 1."""

    placement: Placement = "even"
    """How: spread evenly, or independent and uniform, as in the paper."""

    top: int | None = None
    """Only mix the classes that were the likeliest before adaptation; None for all."""

    def __post_init__(self) -> None:
        check_draws(self.draws, self.time_range)
        if self.top is not None and self.top < 2:
            raise ValueError(f"top must be at least 2, got {self.top}")

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        draws = context.draws(self.draws, update, self.time_range, self.placement)
        image = torch.arange(len(output))
        for part in context.feedback.parts(draws):
            # Made anew for each part, whose graph is gone once it is differentiated.
            condition = context.task.condition(self._among_the_likeliest(output, context))
            errors = context.feedback.errors(condition, image, part)
            yield errors.sum(1) / len(draws)

    def _among_the_likeliest(self, output: Tensor, context: Context) -> Tensor:
        if self.top is None or self.top >= output.shape[1]:
            return output
        likeliest = context.source.topk(self.top, dim=1).indices
        outside = torch.ones_like(output, dtype=torch.bool).scatter(1, likeliest, False)
        return output.masked_fill(outside, -torch.inf)


@dataclass(frozen=True)
class DUSA:
    """The error of a mixture of predictions at one noise level (DUSA, Li et al., 2024, arXiv 2501.00873).

    The network predicts once for each candidate class, and its predictions are mixed in proportion to the candidates'
    probabilities. With a frozen network that needs no backward pass through it.
    """

    time: float = 0.1
    """The noise level's place in the schedule, from 0 (no noise) to 1."""

    draws: int = 1
    """Draws of noise of an image in an update."""

    top: int = 4
    """Candidates that are the likeliest classes at the moment."""

    sampled: int = 2
    """Further candidates, drawn in proportion to their probabilities."""

    unconditional: bool = False
    """Where the diffusion model moves: let it learn from the image under no condition, and not from the mixture."""

    def __post_init__(self) -> None:
        check_draws(self.draws, (self.time, 1.0))
        if self.top < 1 or self.sampled < 0 or self.top + self.sampled < 2:
            raise ValueError(f"there must be two candidates or more, got top={self.top} and sampled={self.sampled}")

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        feedback, task = context.feedback, classification(context, self)
        time = min(int(self.time * len(feedback.denoiser.schedule)), len(feedback.denoiser.schedule) - 1)
        draws = context.draws(self.draws, update, (0.0, 1.0))
        draws.steps[:] = time
        candidates = self._candidates(output.detach(), context, update)
        images, count = candidates.shape
        image = torch.arange(images).repeat_interleave(count)
        conditions = condition_rows(task.conditions, candidates.flatten())
        for part in feedback.parts(draws, count):
            with torch.set_grad_enabled(feedback.weights is not None and not self.unconditional):
                predicted, noisy = feedback.outputs(conditions, image, part)
            predicted = predicted.view(images, count, len(part), *predicted.shape[1:])
            probabilities = output.gather(1, candidates).softmax(1).to(predicted.dtype)
            mixture = torch.einsum("bk,bk...->b...", probabilities, predicted).flatten(0, 1)
            # The first candidate's rows: the noise is the same for all.
            first = torch.arange(len(noisy.row), device=output.device).view(images, count, -1)[:, 0].flatten()
            yield feedback.compare(mixture, noisy.rows(first)).view(images, -1).sum(1) / len(draws)
        if self.unconditional and feedback.weights is not None:
            nothing = condition_rows(unconditional(feedback.denoiser), torch.zeros(images, dtype=torch.long))
            for part in feedback.parts(draws):
                yield feedback.errors(nothing, torch.arange(images), part).sum(1) / len(draws)

    def _candidates(self, logits: Tensor, context: Context, update: int) -> Tensor:
        """Candidate classes ``(B, top + sampled)``, all different."""
        order = logits.argsort(dim=1, descending=True, stable=True)
        top, rest = order[:, : self.top], order[:, self.top :]
        count = min(self.sampled, rest.shape[1])
        if not count:
            return top
        # The classes of the largest logits with Gumbel noise are drawn without replacement, in proportion.
        feedback = context.feedback
        uniform = np.stack([uniform_at(feedback.seed, i, update, rest.shape[1]) for i in feedback.image_ids])
        gumbel = torch.from_numpy(-np.log(-np.log(uniform.clip(1e-12, 1 - 1e-12)))).to(logits)
        drawn = (logits.gather(1, rest) + gumbel).topk(count, dim=1).indices
        return torch.cat([top, rest.gather(1, drawn)], 1)


@dataclass(frozen=True)
class Entropy:
    """The entropy of the predicted classes (Wang et al., 2021, "Tent"), without a diffusion model.

    The paper's method adapts ``adapt="norm"``, online, with ``batch_norm="batch"``.
    """

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        log_probabilities = F.log_softmax(output, 1)
        entropy = -(log_probabilities.exp() * log_probabilities).sum(1)
        yield entropy.flatten(1).mean(1) if entropy.ndim > 1 else entropy


@dataclass(frozen=True)
class NoAdaptation:
    """No loss: the model as it is."""

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        return iter(())


def classification(context: Context, objective: object) -> ClassificationTask:
    if not isinstance(context.task, ClassificationTask):
        raise ValueError(f"{type(objective).__name__} is of classification; use DiffusionTTA for dense predictions")
    return context.task


def check_draws(draws: int, time_range: tuple[float, float]) -> None:
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    first, last = time_range
    if not 0 <= first < last <= 1:
        raise ValueError(f"times must lie in the schedule, 0 <= first < last <= 1, got {time_range}")
