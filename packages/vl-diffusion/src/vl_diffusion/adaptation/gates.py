"""Gates decide for each image whether to adapt to it, whether to keep an update, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from vl_diffusion.adaptation.evidence import ClassEvidence
from vl_diffusion.adaptation.losses import DUSA, AdaptationLoss, Context, DiffusionTTA, check_draws
from vl_diffusion.adaptation.tasks import ClassificationTask, Task

# Draws for judging updates: the number of an update that never takes place, whose draws no loss has seen.
_UNSEEN = 1_000_003


class Gate(Protocol):
    """Decisions for each image."""

    def admits(self, context: Context) -> Tensor:
        """Images to adapt to, bool ``(B,)``, before the first update."""
        ...

    def keeps(self, context: Context, output: Tensor) -> Tensor:
        """Images whose outputs ``(B, ...)`` after an update are kept, bool ``(B,)``; adaptation to the others ends."""
        ...

    def stops(self, context: Context, output: Tensor) -> Tensor:
        """Images whose outputs need no further update, bool ``(B,)``; adaptation to them ends, too."""
        ...


@dataclass(frozen=True)
class EvidenceGate:
    """Adapt where the evidence favors one class clearly, and stop once the model predicts it.

    An image is adapted to if one class of the posterior (`ClassEvidence`) is likelier than any other by `odds`, and the
    model does not predict it already. An update is kept if the prediction has come nearer to the posterior than the
    source's was, and its class is no less likely there than the source's class; otherwise it is undone. Adaptation ends
    when the model predicts the posterior's class with the share `enough` of its probability.
    """

    evidence: ClassEvidence = field(default_factory=ClassEvidence)
    """The posterior; pass the objective's own to evaluate the network once for both."""

    odds: float = 2.0
    """Required odds of the likeliest class against the next."""

    enough: float = 0.9
    """Share of the posterior's probability at which adaptation ends."""

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
    """Keep an update if the image's denoising error fell on held-out draws; for predictions of any kind.

    The error under the new prediction is compared with that under the source's, on the same draws. This costs `draws`
    evaluations for the source's prediction, and as many for every update.
    """

    draws: int = 16
    """Held-out draws, the same for every update."""

    standard_errors: float = 1.0
    """Required distance of the mean difference below zero, in standard errors."""

    time_range: tuple[float, float] = (0.0, 1.0)
    """The part of the schedule that draws lie in, from 0 (no noise) to 1."""

    def __post_init__(self) -> None:
        check_draws(self.draws, self.time_range)
        # Hashable, as posteriors and errors are looked up by these settings.
        object.__setattr__(self, "time_range", tuple(self.time_range))
        if self.draws < 2 or self.standard_errors < 0:
            raise ValueError(
                f"draws must be at least 2 and standard_errors 0 or more, got {self.draws} and {self.standard_errors}"
            )

    def admits(self, context: Context) -> Tensor:
        return torch.ones(len(context.source), dtype=torch.bool)

    def keeps(self, context: Context, output: Tensor) -> Tensor:
        # A denoiser that is adapted would improve on any prediction, so both are evaluated anew.
        if context.evaluator.weights is not None:
            before = self._errors(context, context.source)
        else:
            before = context.once(("errors of the source", self), lambda: self._errors(context, context.source))
        gain = before - self._errors(context, output.float().to(context.source.device))
        better: Tensor = gain.mean(1) > self.standard_errors * gain.std(1) / self.draws**0.5
        return better

    def stops(self, context: Context, output: Tensor) -> Tensor:
        return torch.zeros(len(output), dtype=torch.bool)

    @torch.no_grad()
    def _errors(self, context: Context, output: Tensor) -> Tensor:
        """Errors ``(B, draws)`` under a prediction."""
        evaluator, condition, image = context.evaluator, context.task.condition(output), torch.arange(len(output))
        draws = context.draws(self.draws, _UNSEEN, self.time_range)
        return torch.cat([evaluator.errors(condition, image, part) for part in evaluator.split(draws)], 1)


def default_gate(task: Task, objective: AdaptationLoss) -> Gate | None:
    """The gate for a task and an objective; None for objectives that no gate goes with."""
    if isinstance(objective, ClassEvidence):
        return EvidenceGate(objective)
    if isinstance(objective, DiffusionTTA | DUSA):
        return EvidenceGate() if isinstance(task, ClassificationTask) else PairedGate()
    return None
