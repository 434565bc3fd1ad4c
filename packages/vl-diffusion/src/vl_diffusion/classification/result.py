"""Classification results: errors, their uncertainty, and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from vl_diffusion.classification.candidates import Candidates, Combination
from vl_diffusion.search.evidence import anytime_half_widths

# Log-probability gap between the predicted class and a class that ties with it, in nats.
_TIE_GAP = 1e-9


@dataclass(frozen=True, eq=False)
class Classification:
    """Denoising errors of B images under K classes, and the predictions.

    Attributes:
        classes: The K class names.
        image_ids: int64 ``(B,)``, the ids that determine the noise.
        errors: float64 ``(B, K)``, weighted mean error over the draws of each class, in the classifier's error space;
            NaN for a class that was not evaluated.
        standard_errors: float64 ``(B, K)``, standard errors of these means; NaN for fewer than two draws.
        draws: int64 ``(B, K)``, number of draws of each class. The mean of a class with fewer draws than the predicted
            one is over other draws: compare `differences` instead.
        evaluations: int64 ``(B, K)``, evaluations of the network; equal to `draws` unless a class has several prompts.
        differences: float64 ``(B, K)``, mean over common draws of a class's score minus the predicted class's; 0 for
            the predicted class. Noise is shared, so the variance is far smaller than that of a difference of `errors`.
            Negative for a class that was pruned while it was ahead of the later winner.
        difference_standard_errors: float64 ``(B, K)``, standard errors of these paired means.
        predictions: int64 ``(B,)``, index of the predicted class.
        probabilities: float64 ``(B, K)``, softmax of the negative paired difference in the summed error, divided by the
            classifier's temperature (equation 7 of Li et al., 2023); 0 for a class that was not evaluated. Negative
            differences count as ties, so that the predicted class is the most likely. Calibrated only with a fitted
            temperature, see `vl_diffusion.fit_temperature`.
        inner_evaluations: int64 ``(B,)``, evaluations of the network for names of inner tree nodes.
        num_values: int64 ``(B,)``, number of values in the denoised image or latent; the summed error is this times
            the mean error.
        pruned: bool ``(B, K)``, classes that the search pruned or never evaluated. The others are the predicted class
            and those not ruled out before the draws or the budget were used up.
        timestep_embedding: ``"published"`` or ``"diffusers"``, the time embedding that a DiT was evaluated with; None
            for other models.
    """

    classes: tuple[str, ...]
    image_ids: np.ndarray
    errors: np.ndarray
    standard_errors: np.ndarray
    draws: np.ndarray
    evaluations: np.ndarray
    differences: np.ndarray
    difference_standard_errors: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    inner_evaluations: np.ndarray
    num_values: np.ndarray
    pruned: np.ndarray
    timestep_embedding: str | None = None

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def predicted_classes(self) -> tuple[str, ...]:
        """Names of the predicted classes, one per image."""
        return tuple(self.classes[i] for i in self.predictions)

    @property
    def total_evaluations(self) -> np.ndarray:
        """Total evaluations of the network per image, int64 ``(B,)``."""
        total: np.ndarray = self.evaluations.sum(1) + self.inner_evaluations
        return total

    @property
    def runners_up(self) -> np.ndarray:
        """Index of the class closest to the predicted one, int64 ``(B,)``."""
        others = np.where(np.isnan(self.differences), np.inf, np.maximum(self.differences, 0))
        others[np.arange(len(self)), self.predictions] = np.inf
        nearest: np.ndarray = others.argmin(1)
        return nearest

    @property
    def margins(self) -> np.ndarray:
        """Paired difference of the runner-up, float64 ``(B,)``; 0 where it was pruned while ahead."""
        margins: np.ndarray = np.maximum(self.differences[np.arange(len(self)), self.runners_up], 0)
        return margins

    @property
    def margin_standard_errors(self) -> np.ndarray:
        """Standard error of each margin, float64 ``(B,)``."""
        errors: np.ndarray = self.difference_standard_errors[np.arange(len(self)), self.runners_up]
        return errors

    @property
    def undecided(self) -> np.ndarray:
        """Images whose margin is within its standard error, bool ``(B,)``.

        Where the standard error is unknown, for fewer than two draws or a single evaluated class, they count as well.
        """
        decided: np.ndarray = self.margins > self.margin_standard_errors
        return ~decided

    def difference_intervals(self, level: float = 0.95, *, anytime: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Confidence intervals of the paired `differences`, one class at a time.

        Student's t intervals assume two classes and a number of draws that were fixed in advance, as in an exhaustive
        search. A race stops when a difference looks large and selects the winner from the data, so that t intervals are
        too short. ``anytime=True`` gives wider intervals that are valid at any stopping time and for any winner.

        Args:
            level: Probability that an interval covers the difference over infinitely many draws, for independent draws
                with normal differences.
            anytime: Use confidence sequences from the evidence of a race, which hold at any stopping time; the error is
                divided among the K - 1 classes that might have won.

        Returns:
            Lower and upper ends, float64 ``(B, K)``; NaN for fewer than two draws, and infinite where `anytime` has too
            few draws.

        Raises:
            ValueError: If `level` is not between 0 and 1.
        """
        from scipy.stats import t

        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level}")
        standard_errors = self.difference_standard_errors
        common = np.minimum(self.draws, self.draws[np.arange(len(self)), self.predictions][:, None])
        if anytime:
            half = anytime_half_widths(standard_errors, common, error=(1 - level) / max(1, len(self.classes) - 1))
        else:
            half = t.ppf((1 + level) / 2, np.maximum(common - 1, 1)) * standard_errors
        return self.differences - half, self.differences + half


ARRAYS = tuple(f.name for f in fields(Classification) if f.type == "np.ndarray")
"""Names of the fields with a row for every image."""


def summarize(
    errors: np.ndarray,
    scores: np.ndarray,
    prediction: int,
    pruned: np.ndarray,
    candidates: Candidates,
    *,
    classes: tuple[str, ...],
    image_id: int,
    num_values: int,
    temperature: float,
    combination: Combination = "mean",
    timestep_embedding: str | None = None,
) -> Classification:
    """Summarize the search of one image.

    Args:
        errors: ``(A, M)``, NaN where not evaluated.
        scores: ``(A, M)``, the values that the search compared.
        prediction: Index of the predicted candidate.
        pruned: bool ``(A,)``, candidates that the search pruned.
        candidates: The candidates; names of inner tree nodes are left out.
        classes: The class names.
        image_id: The id that determines the noise.
        num_values: Number of values in the denoised image or latent.
        temperature: Divides the summed error before the softmax.
        combination: How several candidates of a class are combined.
        timestep_embedding: See `Classification`.
    """
    mean, standard_error, draws = _moments(errors.astype(np.float64))
    difference, difference_error, _ = _moments(scores.astype(np.float64) - scores[prediction])
    table = np.stack([mean, standard_error, draws, difference, difference_error])  # [5, A]
    evaluations, inner_evaluations = (
        draws * candidates.sizes,
        int((draws * candidates.sizes)[candidates.class_indices < 0].sum()),
    )
    scale = num_values / temperature
    if not np.array_equal(candidates.class_indices, np.arange(len(classes))):
        members = [np.flatnonzero(candidates.class_indices == k) for k in range(len(classes))]
        evaluations = np.array([evaluations[own].sum() for own in members])
        # A pruned prompt counts as no better than the best one, even if its few draws say otherwise.
        table[3] = np.where(pruned, np.maximum(difference, 0), difference)
        pruned = np.array([pruned[own].all() for own in members])
        table = np.stack([_combine_prompts(table[:, own], scale, combination) for own in members], axis=1)
    mean, standard_error, draws, difference, difference_error = table
    label = int(candidates.class_indices[prediction])
    if combination == "logsumexp" and len(candidates) > len(classes):
        # A class with many good prompts may be ahead of the class with the best prompt.
        label = int(np.nanargmin(difference))
        difference_error[label] = 0.0
        pruned[label] = False
    difference = difference - difference[label]
    return Classification(
        classes=classes,
        image_ids=np.array([image_id], np.int64),
        errors=mean[None],
        standard_errors=standard_error[None],
        draws=draws.astype(np.int64)[None],
        evaluations=evaluations[None],
        differences=difference[None],
        difference_standard_errors=difference_error[None],
        predictions=np.array([label], np.int64),
        probabilities=class_probabilities(difference[None], np.array([label]), scale),
        inner_evaluations=np.array([inner_evaluations], np.int64),
        num_values=np.array([num_values], np.int64),
        pruned=pruned[None],
        timestep_embedding=timestep_embedding,
    )


def class_probabilities(differences: np.ndarray, predictions: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Softmax of ``-scale * differences``, with the predicted class strictly the most likely.

    Args:
        differences: ``(B, K)``, differences to the predicted class.
        predictions: int64 ``(B,)``, indices of the predicted classes.
        scale: A number, or one per image ``(B, 1)``.
    """
    behind = np.maximum(differences, _TIE_GAP / scale)
    np.put_along_axis(behind, predictions[:, None], 0.0, axis=1)
    return softmax_probabilities(behind, scale)


def softmax_probabilities(differences: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Softmax of ``-scale * differences``, float64 ``(B, K)``; 0 where a difference is NaN.

    Args:
        differences: ``(B, K)``.
        scale: A number, or one per image ``(B, 1)``.
    """
    logits = np.where(np.isnan(differences), -np.inf, -scale * differences)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: np.ndarray = weights / weights.sum(1, keepdims=True)
    return probabilities


def _combine_prompts(table: np.ndarray, scale: float, combination: Combination) -> np.ndarray:
    """Combine the columns ``(5, prompts)`` of a class to ``(5,)``: those of the best prompt, or of the mixture."""
    differences = table[3]
    if np.isnan(differences).all():
        return np.array(table[:, 0])
    best = int(np.nanargmin(differences))
    row: np.ndarray = table[:, best].copy()
    if combination == "logsumexp":
        relative = np.nan_to_num(np.exp(-scale * (differences - differences[best])))
        weights = relative / relative.sum()
        for quantity in (0, 1, 4):
            # A prompt pruned after one draw has no standard error; the class has one if the best prompt does.
            known = ~np.isnan(table[quantity])
            if known[best]:
                row[quantity] = table[quantity, known] @ weights[known] / weights[known].sum()
        row[3] = differences[best] - np.log(relative.mean()) / scale
    return row


def concatenate(parts: Sequence[Classification]) -> Classification:
    """Concatenate results of several images or batches, in order."""
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return replace(parts[0], **arrays)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard error and number of the values in each row, ignoring NaN."""
    known = ~np.isnan(values)
    count = known.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0).sum(1) / count
        squares = np.where(known, values - mean[:, None], 0) ** 2
        standard_error = np.sqrt(squares.sum(1) / (count - 1) / count)
    return mean, np.where(count > 1, standard_error, np.nan), count
