"""Class evidence from cached denoising errors, which all classifiers and methods of a study share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vl_diffusion.adaptation.draws import place_draws
from vl_diffusion.adaptation.evidence import ClassEvidence
from vl_diffusion.adaptation.losses import Context
from vl_diffusion.models.denoiser import Denoiser
from vl_diffusion.scoring.cached_errors import CachedErrors
from vl_diffusion.scoring.evaluator import ErrorEvaluator, EvaluationBatch


def cached_evidence_errors(
    denoiser: Denoiser,
    texts: Sequence[str],
    evidence: ClassEvidence,
    seed: int,
    *,
    batch_size: int = 64,
    autocast: torch.dtype | None = None,
    compile: bool = False,
) -> CachedErrors:
    """A cache of errors on the draws of an evidence.

    Args:
        denoiser: A class- or text-conditional model.
        texts: Its texts for the K classes.
        evidence: Places the draws.
        seed: Seed of the noise.
        batch_size: Rows in one call of the network.
        autocast: Precision of the network under autocast.
        compile: Compile the network.
    """
    no_ids = np.zeros(0, np.int64)
    draws = place_draws(denoiser.schedule, evidence.draws, update=0, time_range=evidence.time_range, image_ids=no_ids)
    return CachedErrors(
        ErrorEvaluator(
            denoiser,
            denoiser.encode_classes(tuple(texts)),
            tuple(texts),
            draws.steps,
            objective="l2",
            error_space="epsilon",
            seed=seed,
            batch_size=batch_size,
            compile=compile,
            autocast=autocast,
        )
    )


def errors_of_classes(errors: CachedErrors, latents: Tensor, image_ids: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Errors of images under candidate classes on all draws.

    Args:
        errors: The cache.
        latents: ``(B, c, h, w)``, the images as the denoiser sees them.
        image_ids: int64 ``(B,)``.
        classes: int64 ``(B, k)``, candidates of each image.

    Returns:
        float32 ``(B, k, draws)``.
    """
    (images, count), draws = classes.shape, len(errors.evaluator.steps)
    batch = EvaluationBatch(
        image=np.arange(images).repeat(draws),
        draw=np.tile(np.arange(draws), images),
        pair=np.arange(images * draws).repeat(count),
        row=classes.repeat(draws, axis=0).reshape(-1),
    )
    return errors(latents, image_ids, batch).reshape(images, draws, count).transpose(0, 2, 1)


@dataclass(frozen=True)
class SharedEvidence(ClassEvidence):
    """Class evidence from cached errors; its numbers are those of its base class."""

    shared: CachedErrors = field(kw_only=True, repr=False, compare=False)
    """Errors on the same draws."""

    def errors(self, candidates: Tensor, context: Context) -> Tensor:
        evaluator = context.evaluator
        errors = errors_of_classes(self.shared, evaluator.latents, evaluator.image_ids, candidates.cpu().numpy())
        evaluator.count(torch.arange(len(evaluator)).repeat_interleave(candidates.shape[1] * self.draws))
        return torch.from_numpy(np.ascontiguousarray(errors)).to(candidates.device)
