"""Whether to adapt to an image at all, when to stop, and whether to keep what came of it: first, do no harm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from vl_diffusion.adaptation.evidence import ClassEvidence
from vl_diffusion.adaptation.losses import Context, check_draws

# Of no update: the number of the draws that outcomes are judged on.
_UNSEEN = 1_000_003


class Gate(Protocol):
    """Decides for each image."""

    def admits(self, context: Context) -> Tensor:
        """Which images to adapt to, bool ``(B,)``, before anything moves."""
        ...

    def keeps(self, context: Context, output: Tensor) -> Tensor:
        """Which outputs ``(B, ...)`` to keep after an update, bool ``(B,)``; the other images stop there."""
        ...

    def stops(self, context: Context, output: Tensor) -> Tensor:
        """Which of the outputs that are kept are good enough, bool ``(B,)``; these images stop there, too."""
        ...


@dataclass(frozen=True)
class EvidenceGate:
    """Adapt where the denoising errors of the candidate classes settle on one of them, and no further than there.

    An image is adapted to if one class of the posterior (`ClassEvidence`) is likelier than any other by `odds`, and if
    the model is not of that opinion already. An update is kept if the prediction is nearer to the posterior than the
    source's was, and its class no less likely there than the source's class: one that the evidence does not speak for
    is undone. Adaptation ends as soon as the prediction is the posterior's class, with the share of its probability
    that `enough` says.
    """

    evidence: ClassEvidence = field(default_factory=ClassEvidence)
    """What is asked; the objective's own, so that it is asked once."""

    odds: float = 2.0
    """How much likelier than the next a class must be."""

    enough: float = 0.9
    """The share of the posterior's probability at which a prediction is good enough."""

    def __post_init__(self) -> None:
        if not (self.odds >= 1 and 0 < self.enough <= 1):
            raise ValueError(f"odds must be at least 1 and enough in (0, 1], got {self.odds} and {self.enough}")

    def admits(self, context: Context) -> Tensor:
        first, second = self.evidence.posterior(context).topk(2, dim=1).values.unbind(1)
        return (first >= self.odds * second) & ~self.stops(context, context.source)

    def keeps(self, context: Context, output: Tensor) -> Tensor:
        posterior = self.evidence.posterior(context)
        output = output.float().to(posterior.device)
        before, after = (posterior.gather(1, logits.argmax(1, True))[:, 0] for logits in (context.source, output))
        near, nearer = (F.cross_entropy(logits, posterior, reduction="none") for logits in (context.source, output))
        return (after >= before) & (nearer <= near)

    def stops(self, context: Context, output: Tensor) -> Tensor:
        probability, best = self.evidence.posterior(context).max(1)
        output = output.to(best.device)
        reached = output.softmax(1).gather(1, best[:, None])[:, 0] >= self.enough * probability
        return reached & (output.argmax(1) == best)


@dataclass(frozen=True)
class PairedGate:
    """Keep an update if the image's denoising error fell, on draws that the update did not see; for any prediction.

    The error under the new prediction is compared with that under the source's, on the same draws. It costs
    evaluations of its own: `draws` for the source's prediction, and `draws` for every update.
    """

    draws: int = 16
    """Draws that every update is judged on, always the same ones."""

    standard_errors: float = 1.0
    """How many of its standard errors the mean difference must lie below zero."""

    time_range: tuple[float, float] = (0.0, 1.0)
    """The part of the schedule that draws lie in, from 0 (no noise) to 1."""

    def __post_init__(self) -> None:
        check_draws(self.draws, self.time_range)
        if self.draws < 2 or self.standard_errors < 0:
            raise ValueError(
                f"draws must be at least 2 and standard_errors 0 or more, got {self.draws} and {self.standard_errors}"
            )

    def admits(self, context: Context) -> Tensor:
        return torch.ones(len(context.source), dtype=torch.bool)

    def keeps(self, context: Context, output: Tensor) -> Tensor:
        name = f"source's errors for {self!r}"
        # A denoiser that moves would be better at any prediction.
        if name not in context.memo or context.feedback.weights is not None:
            context.memo[name] = self._errors(context, context.source)
        gain = context.memo[name] - self._errors(context, output.float().to(context.source.device))
        better: Tensor = gain.mean(1) > self.standard_errors * gain.std(1) / self.draws**0.5
        return better

    def stops(self, context: Context, output: Tensor) -> Tensor:
        return torch.zeros(len(output), dtype=torch.bool)

    @torch.no_grad()
    def _errors(self, context: Context, output: Tensor) -> Tensor:
        """Errors ``(B, draws)`` under a prediction."""
        condition, image = context.task.condition(output), torch.arange(len(output))
        draws = context.draws(self.draws, _UNSEEN, self.time_range)
        return torch.cat([context.feedback.errors(condition, image, part) for part in context.feedback.parts(draws)], 1)
