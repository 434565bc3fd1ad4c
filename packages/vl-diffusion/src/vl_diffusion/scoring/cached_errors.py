"""Denoising errors that are computed once, however many searches look at the same draws of the same images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from vl_diffusion.scoring.evaluator import ErrorEvaluator, EvaluationBatch


@dataclass(eq=False)
class CachedErrors:
    """An evaluator for the engine that remembers: asked again, it leaves the network alone.

    It holds a table ``(images, texts, draws)`` of float32, so give it a few images at a time.

    Args:
        evaluator: What answers the first time.
        image_ids: Ids of the images that will be asked about, all different.
    """

    evaluator: ErrorEvaluator
    image_ids: Sequence[int]
    evaluations: int = field(init=False, default=0)
    """Errors that were computed."""

    cpu_seconds: float = field(init=False, default=0.0)
    """CPU time of this process that computing them took."""

    def __post_init__(self) -> None:
        shape = (len(self.image_ids), len(self.evaluator.texts), len(self.evaluator.steps))
        self._table = np.full(shape, np.nan, np.float32)
        self._place = {image_id: place for place, image_id in enumerate(self.image_ids)}

    @property
    def batch_size(self) -> int:
        """Evaluations in one call of the network."""
        return self.evaluator.batch_size

    def __call__(
        self,
        latents: Tensor,
        image_ids: np.ndarray,
        jobs: EvaluationBatch,
        advance: Callable[[int], object] = lambda n: None,
    ) -> np.ndarray:
        """The error of each job, float32 ``(J,)``, as from the evaluator itself."""
        place = np.array([self._place[int(image_id)] for image_id in image_ids])
        where = (place[jobs.image[jobs.pair]], jobs.row, jobs.draw[jobs.pair])
        errors: np.ndarray = self._table[where]
        unknown = np.flatnonzero(np.isnan(errors))
        if len(unknown):
            start = time.process_time()
            errors[unknown] = self.evaluator(latents, image_ids, _only(jobs, unknown), advance)
            self.cpu_seconds += time.process_time() - start
            self.evaluations += len(unknown)
            self._table[tuple(axis[unknown] for axis in where)] = errors[unknown]
        return errors


def _only(jobs: EvaluationBatch, chosen: np.ndarray) -> EvaluationBatch:
    """Some of the jobs, ascending, and the pairs that they need."""
    pairs, pair = np.unique(jobs.pair[chosen], return_inverse=True)
    return EvaluationBatch(image=jobs.image[pairs], draw=jobs.draw[pairs], pair=pair, row=jobs.row[chosen])
