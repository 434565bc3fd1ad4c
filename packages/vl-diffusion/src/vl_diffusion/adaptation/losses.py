"""Losses at test time. Each is one class with one method, `parts`; another loss is another such class.

A loss comes in parts, one for each call of the denoising network. Each part is differentiated at once, so that only one
call's activations are ever kept.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vl_diffusion.adaptation.draws import Draws, Placement, place_draws, uniform_at
from vl_diffusion.adaptation.evaluator import DifferentiableEvaluator
from vl_diffusion.adaptation.tasks import ClassificationTask, Task
from vl_diffusion.models.denoiser import condition_rows, unconditional


@dataclass(eq=False)
class Context:
    """B images that are adapted to together.

    Attributes:
        task: What the model predicts.
        denoising: Their denoising errors; None where the adapter has no denoiser.
        source: The model's outputs before it is adapted to these images, ``(B, ...)``: those of the given weights or,
            online, of the weights that earlier images have left.
        computed: Tensors ``(B, ...)`` that an objective or a gate looks up again in later updates, see :meth:`once`.
    """

    task: Task
    denoising: DifferentiableEvaluator | None
    source: Tensor
    computed: dict[Hashable, Tensor] = field(default_factory=dict)

    @property
    def evaluator(self) -> DifferentiableEvaluator:
        """Denoising errors of the images.

        Raises:
            ValueError: If there is no denoiser.
        """
        if self.denoising is None:
            raise ValueError("the objective or the gate evaluates a denoiser, and denoiser is None; pass one")
        return self.denoising

    def select(self, images: Tensor) -> Context:
        """Some of the images, int64 ``(n,)``."""
        computed = {key: value[images.to(value.device)] for key, value in self.computed.items()}
        denoising = None if self.denoising is None else self.denoising.select(images)
        return Context(self.task, denoising, self.source[images.to(self.source.device)], computed)

    def once(self, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """The tensor ``(B, ...)`` that `compute` returns, computed in the first update that needs it."""
        if key not in self.computed:
            self.computed[key] = compute()
        return self.computed[key]

    def draws(
        self,
        count: int,
        update: int,
        time_range: tuple[float, float],
        placement: Placement = "even",
        group: int | None = None,
    ) -> Draws:
        """Draws of the images, see :func:`~vl_diffusion.adaptation.draws.place_draws`."""
        evaluator = self.evaluator
        return place_draws(
            evaluator.denoiser.schedule,
            count,
            update=update,
            time_range=time_range,
            placement=placement,
            group=group,
            image_ids=evaluator.image_ids,
            seed=evaluator.seed,
        )


class AdaptationLoss(Protocol):
    """Loss of a model's outputs."""

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        """Parts of the loss, float ``(B,)`` each and differentiable in `output`; their sum is the loss of each image.

        Args:
            output: The model's current outputs, ``(B, ...)``.
            context: The images.
            update: Number of the update, from 0.
        """
        ...


@dataclass(frozen=True)
class DiffusionTTA:
    """Denoising error under a mixture of conditions (Prabhudesai, Ke, Li, Pathak & Fragkiadaki, 2023).

    The condition is the classes' embeddings weighted by their probabilities, or a map of predictions; the error is
    averaged over draws.
    """

    draws: int = 32
    """Draws of an image in an update: pairs of a time step and noise."""

    time_range: tuple[float, float] = (0.0, 1.0)
    """The part of the schedule that draws lie in, from 0 (no noise) to 1."""

    placement: Placement = "even"
    """Even spacing; independent and uniform draws, as in the paper; or even spacing from a random first step."""

    group: int | None = None
    """Draws that share a first step with ``placement="offset"``, as many as the authors' batch; None for all."""

    error: Literal["l2", "l1"] = "l2"
    """Squared or absolute error."""

    top: int | None = None
    """Number of classes that are mixed, the likeliest before adaptation; None for all."""

    def __post_init__(self) -> None:
        check_draws(self.draws, self.time_range)
        for name, value, known in (
            ("placement", self.placement, Placement),
            ("error", self.error, Literal["l2", "l1"]),
        ):
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")
        if self.group is not None and (self.placement != "offset" or self.group < 1):
            raise ValueError(
                f"group must be at least 1 and applies to placement='offset', got {self.group} with {self.placement!r}"
            )
        if self.top is not None and self.top < 2:
            raise ValueError(f"top must be at least 2, got {self.top}")

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        draws = context.draws(self.draws, update, self.time_range, self.placement, self.group)
        image = torch.arange(len(output))
        for part in context.evaluator.split(draws):
            # Computed for each part, whose graph is gone once it is differentiated.
            condition = context.task.condition(self._likeliest(output, context))
            errors = context.evaluator.errors(condition, image, part, self.error)
            yield errors.sum(1) / len(draws)

    def _likeliest(self, output: Tensor, context: Context) -> Tensor:
        if self.top is None or self.top >= output.shape[1]:
            return output
        likeliest = context.source.topk(self.top, dim=1).indices
        outside = torch.ones_like(output, dtype=torch.bool).scatter(1, likeliest, False)
        return output.masked_fill(outside, -torch.inf)


@dataclass(frozen=True)
class DUSA:
    """Denoising error of a mixture of predictions at one noise level (DUSA, Li et al., 2024, arXiv 2501.00873).

    The network predicts once for each candidate class, and the predictions are averaged with the candidates'
    probabilities as weights. A frozen network needs no backward pass.
    """

    time: float = 0.1
    """Position of the noise level in the schedule, from 0 (no noise) to 1."""

    draws: int = 1
    """Draws of noise for an image in an update."""

    top: int = 4
    """Candidates that are the likeliest classes at the moment."""

    sampled: int = 2
    """Further candidates, drawn in proportion to their probabilities."""

    unconditional: bool = False
    """Train an adapted denoiser on the image without a condition instead of on the mixture."""

    def __post_init__(self) -> None:
        check_draws(self.draws, (self.time, 1.0))
        if self.top < 1 or self.sampled < 0 or self.top + self.sampled < 2:
            raise ValueError(f"there must be two candidates or more, got top={self.top} and sampled={self.sampled}")

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        evaluator, task = context.evaluator, classification(context, self)
        num_steps = len(evaluator.denoiser.schedule)
        draws = context.draws(self.draws, update, (0.0, 1.0))
        draws.steps[:] = min(int(self.time * num_steps), num_steps - 1)
        candidates = self._candidates(output.detach(), context, update)
        images, count = candidates.shape
        image = torch.arange(images).repeat_interleave(count)
        conditions = condition_rows(task.conditions, candidates.flatten())
        for part in evaluator.split(draws, count):
            with torch.set_grad_enabled(evaluator.weights is not None and not self.unconditional):
                predicted, noisy, _ = evaluator.predict(conditions, image, part)
            predicted = predicted.view(images, count, len(part), *predicted.shape[1:])
            probabilities = output.gather(1, candidates).softmax(1).to(predicted.dtype)
            mixture = torch.einsum("bk,bk...->b...", probabilities, predicted).flatten(0, 1)
            pair = torch.arange(len(mixture), device=output.device)
            yield noisy.errors(mixture, pair).view(images, -1).sum(1) / len(draws)
        if self.unconditional and evaluator.weights is not None:
            condition = condition_rows(unconditional(evaluator.denoiser), torch.zeros(images, dtype=torch.long))
            for part in evaluator.split(draws):
                yield evaluator.errors(condition, torch.arange(images), part).sum(1) / len(draws)

    def _candidates(self, logits: Tensor, context: Context, update: int) -> Tensor:
        """Candidate classes ``(B, top + sampled)``, all different."""
        order = logits.argsort(dim=1, descending=True, stable=True)
        top, rest = order[:, : self.top], order[:, self.top :]
        count = min(self.sampled, rest.shape[1])
        if not count:
            return top
        # The classes of the largest logits with Gumbel noise are drawn without replacement, in proportion.
        evaluator = context.evaluator
        uniform = np.stack([uniform_at(evaluator.seed, i, update, rest.shape[1]) for i in evaluator.image_ids])
        gumbel = torch.from_numpy(-np.log(-np.log(uniform.clip(1e-12, 1 - 1e-12)))).to(logits)
        drawn = (logits.gather(1, rest) + gumbel).topk(count, dim=1).indices
        return torch.cat([top, rest.gather(1, drawn)], 1)


@dataclass(frozen=True)
class Entropy:
    """Entropy of the predicted classes (Wang et al., 2021, "Tent"), without a diffusion model.

    The paper adapts ``adapt="norm"``, online, with ``batch_norm="batch"``.
    """

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        log_probabilities = F.log_softmax(output, 1)
        entropy = -(log_probabilities.exp() * log_probabilities).sum(1)
        yield entropy.flatten(1).mean(1) if entropy.ndim > 1 else entropy


@dataclass(frozen=True)
class NoAdaptation:
    """No loss; the model is left as it is."""

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        return iter(())


def classification(context: Context, objective: object) -> ClassificationTask:
    """The task, or a ValueError if it is none of classification."""
    if not isinstance(context.task, ClassificationTask):
        raise ValueError(
            f"{type(objective).__name__} needs a classification task; use DiffusionTTA for dense predictions"
        )
    return context.task


def check_draws(draws: int, time_range: tuple[float, float]) -> None:
    """Raise ValueError if either is out of range."""
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    first, last = time_range
    if not 0 <= first < last <= 1:
        raise ValueError(f"time_range must satisfy 0 <= first < last <= 1, got {time_range}")
