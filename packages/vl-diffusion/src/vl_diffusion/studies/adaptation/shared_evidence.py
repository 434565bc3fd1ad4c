"""Class evidence whose errors are computed once, however many classifiers and methods ask for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vl_diffusion.adaptation.draws import place_draws
from vl_diffusion.adaptation.evidence import ClassEvidence
from vl_diffusion.adaptation.losses import Context
from vl_diffusion.models.denoiser import Denoiser
from vl_diffusion.models.images import content_id
from vl_diffusion.scoring.evaluator import ErrorEvaluator, EvaluationBatch


@dataclass(eq=False)
class SharedErrors:
    """Errors of images under classes, on the draws of an evidence; an error that was asked for before is remembered.

    Args:
        denoiser: A class- or text-conditional model.
        texts: What it takes for the K classes.
        evidence: Whose draws they are.
        seed: Of the noise.
        batch_size: Rows in one call of the network.
        autocast: Precision of the network under autocast.
        compile: Compile the network.
    """

    denoiser: Denoiser
    texts: Sequence[str]
    evidence: ClassEvidence
    seed: int
    batch_size: int = 64
    autocast: torch.dtype | None = None
    compile: bool = False
    evaluations: int = field(init=False, default=0)
    """Errors that were computed."""

    cpu_seconds: float = field(init=False, default=0.0)
    """CPU time of this process that computing them took."""

    def __post_init__(self) -> None:
        schedule, evidence = self.denoiser.schedule, self.evidence
        nobody = np.zeros(0, np.int64)
        draws = place_draws(schedule, evidence.draws, update=0, time_range=evidence.time_range, image_ids=nobody)
        texts = tuple(self.texts)
        self._ask = ErrorEvaluator(
            self.denoiser,
            self.denoiser.encode_classes(texts),
            texts,
            draws.steps,
            objective="l2",
            error_space="epsilon",
            seed=self.seed,
            batch_size=self.batch_size,
            compile=self.compile,
        )
        # By an image's id and its content: the same id may stand for the same image under several corruptions.
        self._found: dict[tuple[int, int], np.ndarray] = {}

    def of(self, latents: Tensor, image_ids: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Errors ``(B, k, draws)``, float32.

        Args:
            latents: ``(B, c, h, w)``, the images as the denoiser sees them.
            image_ids: int64 ``(B,)``.
            classes: int64 ``(B, k)``, under which of the K classes.
        """
        tables = [self._table(int(image_id), latent) for image_id, latent in zip(image_ids, latents, strict=True)]
        missing = [of[np.isnan(table[of, 0])] for table, of in zip(tables, classes, strict=True)]
        if any(map(len, missing)):
            start = time.process_time()
            self._compute(latents, image_ids, tables, missing)
            self.cpu_seconds += time.process_time() - start
        return np.stack([table[of] for table, of in zip(tables, classes, strict=True)])

    def price(self, evaluations: int) -> float:
        """CPU seconds that so many errors take, as measured."""
        return evaluations * self.cpu_seconds / max(1, self.evaluations)

    def _table(self, image_id: int, latent: Tensor) -> np.ndarray:
        key = (image_id, content_id(latent))
        return self._found.setdefault(key, np.full((len(self.texts), self.evidence.draws), np.nan, np.float32))

    @torch.no_grad()
    def _compute(
        self, latents: Tensor, image_ids: np.ndarray, tables: Sequence[np.ndarray], missing: Sequence[np.ndarray]
    ) -> None:
        """Fill in what is missing, an image's classes on all draws."""
        draws = self.evidence.draws
        image = np.arange(len(latents)).repeat(draws)
        draw = np.tile(np.arange(draws), len(latents))
        rows = [missing[i] for i in image.tolist()]
        jobs = EvaluationBatch(
            image, draw, np.arange(len(image)).repeat([len(row) for row in rows]), np.concatenate(rows)
        )
        device = torch.device(self.denoiser.device).type
        with nullcontext() if self.autocast is None else torch.autocast(device, self.autocast):
            errors = self._ask(latents, image_ids, jobs)
        tables_of = [tables[i] for i in jobs.image[jobs.pair].tolist()]
        for table, row, of, error in zip(tables_of, jobs.row, jobs.draw[jobs.pair], errors, strict=True):
            table[row, of] = error
        self.evaluations += len(jobs)


@dataclass(frozen=True)
class SharedEvidence(ClassEvidence):
    """Class evidence that looks its errors up; the same numbers as its base class computes."""

    shared: SharedErrors = field(kw_only=True, repr=False, compare=False)
    """Of the same draws."""

    def errors(self, candidates: Tensor, context: Context) -> Tensor:
        feedback = context.feedback
        errors = self.shared.of(feedback.latents, feedback.image_ids, candidates.cpu().numpy())
        feedback.count(torch.arange(len(feedback)).repeat_interleave(candidates.shape[1] * self.draws))
        return torch.from_numpy(errors).to(candidates.device)
