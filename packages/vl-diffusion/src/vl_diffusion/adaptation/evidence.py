"""What a diffusion model holds of an image's likeliest classes: their denoising errors, on the same draws of noise."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vl_diffusion.adaptation.losses import Context, check_draws, classification
from vl_diffusion.models.denoiser import condition_rows


@dataclass(frozen=True)
class ClassEvidence:
    """The cross-entropy to what the classifier and the diffusion model believe together.

    The classifier's likeliest classes are candidates. The network denoises the image under each of them, on the same
    draws, so that what the draws do to all classes alike drops out of the differences. With ``e`` the mean errors, the
    draws being brought to comparable scales first (`comparable`), ``s`` the standard error of their differences
    (`paired_standard_error`), and ``p`` the model's probabilities before adaptation,

        posterior of class c  ~  p(c)^prior exp(-e(c) / (sharpness s)),

    among the candidates; it is what the model learns. The network is evaluated ``top * draws`` times an image, however
    many updates there are, and is never differentiated.
    """

    draws: int = 9
    """Draws of an image: pairs of a time step and noise."""

    top: int = 5
    """Candidates: the likeliest classes before adaptation."""

    prior: float = 0.3
    """What the model's own log odds weigh; less than 1, since where its images have shifted it is too sure."""

    sharpness: float = 1.0
    """Standard errors that are worth a nat."""

    time_range: tuple[float, float] = (0.0, 1.0)
    """The part of the schedule that draws lie in, from 0 (no noise) to 1."""

    def __post_init__(self) -> None:
        check_draws(self.draws, self.time_range)
        if self.draws < 2 or self.top < 2:
            raise ValueError(f"draws and top must be at least 2, got {self.draws} and {self.top}")
        if not (self.prior >= 0 and self.sharpness > 0):
            raise ValueError(f"prior must be 0 or more, sharpness positive, got {self.prior} and {self.sharpness}")

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        yield F.cross_entropy(output, self.posterior(context), reduction="none")

    def posterior(self, context: Context) -> Tensor:
        """Probabilities ``(B, K)``, zero for all but the candidates; the network is asked once."""
        # Another evidence, such as a gate's own, has a posterior of its own.
        name = f"posterior of {self!r}"
        if name not in context.memo:
            context.memo[name] = self._posterior(context)
        return context.memo[name]

    def _posterior(self, context: Context) -> Tensor:
        log_p = F.log_softmax(context.source, 1)
        log_p, candidates = log_p.topk(min(self.top, log_p.shape[1]), dim=1)
        errors = self.errors(candidates, context)
        if strange := int((~torch.isfinite(errors)).flatten(1).any(1).sum()):
            warnings.warn(
                f"errors of {strange} images are not finite, and say nothing of their classes; check the denoiser's "
                "weights, or compute in float32",
                RuntimeWarning,
                stacklevel=2,
            )
        errors = comparable(errors)
        unit = self.sharpness * paired_standard_error(errors)[:, None]
        belief = (self.prior * log_p - errors.mean(2) / unit).softmax(1)
        return torch.zeros_like(context.source).scatter(1, candidates, belief)

    @torch.no_grad()
    def errors(self, candidates: Tensor, context: Context) -> Tensor:
        """Mean squared errors ``(B, k, draws)`` under candidate classes, int64 ``(B, k)``."""
        feedback, task = context.feedback, classification(context, self)
        images, count = candidates.shape
        image = torch.arange(images).repeat_interleave(count)
        conditions = condition_rows(task.conditions, candidates.flatten())
        draws = context.draws(self.draws, 0, self.time_range)
        parts = [feedback.errors(conditions, image, part) for part in feedback.parts(draws, count)]
        return torch.cat(parts, 1).view(images, count, -1)


def comparable(errors: Tensor) -> Tensor:
    """The classes' errors about their mean on each draw, so scaled that no noise level outweighs the others.

    Between little noise and much, differences between classes vary by orders of magnitude. A draw's are divided by
    their spread plus the mean spread of all draws: where they are large they count by direction, and where they are
    small they stay small.

    Args:
        errors: ``(B, k, n)``, of k classes on n draws.
    """
    about = errors - errors.mean(1, keepdim=True)
    spread = about.square().mean(1, keepdim=True).sqrt()
    return about / (spread + spread.mean(2, keepdim=True)).clamp_min(torch.finfo(errors.dtype).tiny)


def paired_standard_error(errors: Tensor) -> Tensor:
    """The standard error of the difference of two classes' mean errors, pooled over all pairs.

    What is left of the errors without the means of classes and of draws is taken to be alike for all.

    Args:
        errors: ``(B, k, n)``, of k classes on the same n draws.

    Returns:
        ``(B,)``, positive.
    """
    _, classes, draws = errors.shape
    rest = errors - errors.mean(1, keepdim=True) - errors.mean(2, keepdim=True) + errors.mean((1, 2), keepdim=True)
    variance = rest.square().sum((1, 2)) / ((classes - 1) * (draws - 1))
    return (2 * variance / draws).sqrt().clamp_min(torch.finfo(errors.dtype).tiny)
