"""Posterior over an image's likeliest classes, from their denoising errors on the same draws of noise."""

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
    """Cross-entropy to a posterior that combines the classifier with the denoising errors of its likeliest classes.

    The network denoises the image under each of these candidates, on the same draws, so that whatever a draw does to
    all classes alike cancels in their differences. With ``e`` the mean errors, after the draws are brought to
    comparable scales (`comparable`), ``s`` the standard error of their differences (`paired_standard_error`), and ``p``
    the model's probabilities before adaptation, the model learns

        posterior of class c  ~  p(c)^prior exp(-e(c) / (sharpness s))

    over the candidates. The network is evaluated ``top * draws`` times for an image, whatever the number of updates,
    and never differentiated.
    """

    draws: int = 9
    """Draws for an image: pairs of a time step and noise."""

    top: int = 5
    """Number of candidates, the likeliest classes before adaptation."""

    prior: float = 0.3
    """Weight of the model's own log odds; less than 1, because models are overconfident on shifted images."""

    sharpness: float = 1.0
    """Standard errors that count as one nat."""

    time_range: tuple[float, float] = (0.0, 1.0)
    """The part of the schedule that draws lie in, from 0 (no noise) to 1."""

    def __post_init__(self) -> None:
        check_draws(self.draws, self.time_range)
        # Hashable, as posteriors and errors are looked up by these settings.
        object.__setattr__(self, "time_range", tuple(self.time_range))
        if self.draws < 2 or self.top < 2:
            raise ValueError(f"draws and top must be at least 2, got {self.draws} and {self.top}")
        if not (self.prior >= 0 and self.sharpness > 0):
            raise ValueError(f"prior must be 0 or more, sharpness positive, got {self.prior} and {self.sharpness}")

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        yield F.cross_entropy(output, self.posterior(context), reduction="none")

    def posterior(self, context: Context) -> Tensor:
        """Probabilities ``(B, K)``, zero for all but the candidates; the network is evaluated once."""
        # By value: a gate with the same settings shares it, one with others has its own.
        return context.once(("posterior", self), lambda: self._posterior(context))

    def _posterior(self, context: Context) -> Tensor:
        log_p = F.log_softmax(context.source, 1)
        log_p, candidates = log_p.topk(min(self.top, log_p.shape[1]), dim=1)
        errors = self.errors(candidates, context)
        if non_finite := int((~torch.isfinite(errors)).flatten(1).any(1).sum()):
            warnings.warn(
                f"errors of {non_finite} images are not finite, so nothing is learned from them; check the denoiser's "
                "weights, or compute in float32",
                RuntimeWarning,
                stacklevel=2,
            )
        errors = comparable(errors)
        unit = self.sharpness * paired_standard_error(errors)[:, None]
        probabilities = (self.prior * log_p - errors.mean(2) / unit).softmax(1)
        return torch.zeros_like(context.source).scatter(1, candidates, probabilities)

    @torch.no_grad()
    def errors(self, candidates: Tensor, context: Context) -> Tensor:
        """Mean squared errors ``(B, k, draws)`` under candidate classes, int64 ``(B, k)``."""
        evaluator, task = context.evaluator, classification(context, self)
        images, count = candidates.shape
        image = torch.arange(images).repeat_interleave(count)
        conditions = condition_rows(task.conditions, candidates.flatten())
        draws = context.draws(self.draws, 0, self.time_range)
        parts = [evaluator.errors(conditions, image, part) for part in evaluator.split(draws, count)]
        return torch.cat(parts, 1).view(images, count, -1)


def comparable(errors: Tensor) -> Tensor:
    """Errors centered on each draw and scaled so that no noise level outweighs the others.

    Differences between classes vary by orders of magnitude from little noise to much. A draw's are divided by their
    spread plus the mean spread of all draws, so that large ones count by direction and small ones stay small.

    Args:
        errors: ``(B, k, n)``, of k classes on n draws.
    """
    centered = errors - errors.mean(1, keepdim=True)
    spread = centered.square().mean(1, keepdim=True).sqrt()
    return centered / (spread + spread.mean(2, keepdim=True)).clamp_min(torch.finfo(errors.dtype).tiny)


def paired_standard_error(errors: Tensor) -> Tensor:
    """Standard error of the difference of two classes' mean errors, pooled over all pairs of classes.

    The residuals, after the means of classes and of draws are subtracted, are taken to have one variance.

    Args:
        errors: ``(B, k, n)``, of k classes on the same n draws.

    Returns:
        ``(B,)``, positive.
    """
    _, classes, draws = errors.shape
    residual = errors - errors.mean(1, keepdim=True) - errors.mean(2, keepdim=True) + errors.mean((1, 2), keepdim=True)
    variance = residual.square().sum((1, 2)) / ((classes - 1) * (draws - 1))
    return (2 * variance / draws).sqrt().clamp_min(torch.finfo(errors.dtype).tiny)
