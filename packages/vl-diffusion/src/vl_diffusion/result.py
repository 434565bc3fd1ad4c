"""What a classification says: errors, their uncertainty, and the class that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, eq=False)
class Classification:
    """The denoising errors of B images under K classes, and the verdict.

    Attributes:
        classes: The K class names.
        image_ids: int64 ``(B,)``, the ids that the noise belongs to.
        errors: float64 ``(B, K)``, mean error over the draws that a class was evaluated on, uniform in epsilon-space.
        standard_errors: float64 ``(B, K)``, of those means; NaN where a class saw fewer than two draws.
        evaluations: int64 ``(B, K)``, draws that a class was evaluated on. Classes with fewer than the predicted one
            were pruned, and their means are over other draws: compare `differences` instead.
        differences: float64 ``(B, K)``, mean over common draws of a class's error minus the predicted class's; 0 for
            the predicted class. Noise is shared, so this is far more certain than a difference of `errors`.
        difference_standard_errors: float64 ``(B, K)``, of those paired means.
        predictions: int64 ``(B,)``, index of the predicted class.
        probabilities: float64 ``(B, K)``, softmax of minus the paired difference in the summed error, equation 7 of Li
            et al. (2023) with a temperature. Not calibrated.
    """

    classes: tuple[str, ...]
    image_ids: np.ndarray
    errors: np.ndarray
    standard_errors: np.ndarray
    evaluations: np.ndarray
    differences: np.ndarray
    difference_standard_errors: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def labels(self) -> tuple[str, ...]:
        """The predicted class names."""
        return tuple(self.classes[i] for i in self.predictions)

    @property
    def runners_up(self) -> np.ndarray:
        """Index of the class that came closest to the predicted one, int64 ``(B,)``."""
        others = self.differences.copy()
        others[np.arange(len(self)), self.predictions] = np.inf
        nearest: np.ndarray = others.argmin(1)
        return nearest

    @property
    def margins(self) -> np.ndarray:
        """Paired difference of the runner-up to the predicted class, float64 ``(B,)``."""
        margins: np.ndarray = self.differences[np.arange(len(self)), self.runners_up]
        return margins

    @property
    def margin_standard_errors(self) -> np.ndarray:
        """Standard error of each margin, float64 ``(B,)``."""
        errors: np.ndarray = self.difference_standard_errors[np.arange(len(self)), self.runners_up]
        return errors


def summarise(
    draw_errors: np.ndarray, prediction: int, *, classes: tuple[str, ...], image_id: int, scale: float
) -> Classification:
    """The result of one image.

    Args:
        draw_errors: ``(K, M)``, NaN where not evaluated; the predicted class has the most draws.
        prediction: Index of the predicted class.
        classes: The class names.
        image_id: The id that its noise belongs to.
        scale: What a mean error is multiplied with before the softmax: values in an image over the temperature.
    """
    draw_errors = draw_errors.astype(np.float64)
    mean, standard_error, count = _moments(draw_errors)
    difference, difference_error, _ = _moments(draw_errors - draw_errors[prediction])
    logits = -scale * difference
    weights = np.exp(logits - logits.max())
    return Classification(
        classes=classes,
        image_ids=np.array([image_id], np.int64),
        errors=mean[None],
        standard_errors=standard_error[None],
        evaluations=count[None],
        differences=difference[None],
        difference_standard_errors=difference_error[None],
        predictions=np.array([prediction], np.int64),
        probabilities=(weights / weights.sum())[None],
    )


def concatenate(parts: Sequence[Classification]) -> Classification:
    """Results of several images or batches as one, in order."""
    arrays = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Classification)[1:]}
    return Classification(classes=parts[0].classes, **arrays)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard error and count of the numbers in each row that are not NaN."""
    known = ~np.isnan(values)
    count = known.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0).sum(1) / count
        squares = np.where(known, values - mean[:, None], 0) ** 2
        standard_error = np.sqrt(squares.sum(1) / (count - 1) / count)
    return mean, np.where(count > 1, standard_error, np.nan), count
