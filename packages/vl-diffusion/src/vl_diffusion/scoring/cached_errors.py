"""Denoising errors that are computed once, however many searches or methods use the same draws of an image."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from vl_diffusion.models.images import content_id
from vl_diffusion.scoring.evaluator import ErrorEvaluator, EvaluationBatch


@dataclass(eq=False)
class CachedErrors:
    """An evaluator that computes each error once and then looks it up.

    It keeps a float32 table ``(texts, draws)`` for every image that it has met.

    Args:
        evaluator: Computes the errors.
    """

    evaluator: ErrorEvaluator
    evaluations: int = field(init=False, default=0)
    """Errors that were computed."""

    cpu_seconds: float = field(init=False, default=0.0)
    """CPU time of this process spent on computing them."""

    def __post_init__(self) -> None:
        self._tables = np.full((0, len(self.evaluator.texts), len(self.evaluator.steps)), np.nan, np.float32)
        # By id and content: an image's corrupted versions share its id.
        self._places: dict[tuple[int, int], int] = {}

    @property
    def batch_size(self) -> int:
        """Evaluations in one call of the network."""
        return self.evaluator.batch_size

    def __call__(
        self,
        latents: Tensor,
        image_ids: np.ndarray,
        batch: EvaluationBatch,
        advance: Callable[[int], object] = lambda n: None,
    ) -> np.ndarray:
        """The error of each evaluation, float32 ``(J,)``, as from the evaluator itself."""
        place = self._places_of(latents, image_ids)
        where = (place[batch.image[batch.pair]], batch.row, batch.draw[batch.pair])
        errors: np.ndarray = self._tables[where]
        unknown = np.flatnonzero(np.isnan(errors))
        if len(unknown):
            start = time.process_time()
            errors[unknown] = self.evaluator(latents, image_ids, _only(batch, unknown), advance)
            self.cpu_seconds += time.process_time() - start
            self.evaluations += len(unknown)
            self._tables[tuple(axis[unknown] for axis in where)] = errors[unknown]
        return errors

    def seconds(self, evaluations: int) -> float:
        """CPU seconds for this many evaluations, at their mean cost so far."""
        return evaluations * self.cpu_seconds / max(1, self.evaluations)

    def _places_of(self, latents: Tensor, image_ids: np.ndarray) -> np.ndarray:
        """The tables of these images, int64 ``(B,)``, with new ones for new images."""
        keys = [(int(image_id), content_id(latent.cpu())) for image_id, latent in zip(image_ids, latents, strict=True)]
        places = np.array([self._places.setdefault(key, len(self._places)) for key in keys])
        if (missing := len(self._places) - len(self._tables)) > 0:
            # Grow by half at least, so that tables are copied a few times only.
            missing = max(missing, len(self._tables) // 2)
            self._tables = np.pad(self._tables, ((0, missing), (0, 0), (0, 0)), constant_values=np.nan)
        return places


def _only(batch: EvaluationBatch, chosen: np.ndarray) -> EvaluationBatch:
    """Some of the evaluations, ascending, and the pairs that they need."""
    pairs, pair = np.unique(batch.pair[chosen], return_inverse=True)
    return EvaluationBatch(image=batch.image[pairs], draw=batch.draw[pairs], pair=pair, row=batch.row[chosen])
