"""What a classification says: errors, their uncertainty, and the class that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from vl_diffusion.classification.candidates import Candidates, Combination
from vl_diffusion.search.evidence import anytime_half_widths

# By how much a class that ties with the predicted one is less likely, in nats.
_HAIR = 1e-9


@dataclass(frozen=True, eq=False)
class Classification:
    """The denoising errors of B images under K classes, and the verdict.

    Attributes:
        classes: The K class names.
        image_ids: int64 ``(B,)``, the ids that the noise belongs to.
        errors: float64 ``(B, K)``, weighted mean error over the draws that a class was evaluated on, in the
            classifier's error space; NaN for a class that was not evaluated at all.
        standard_errors: float64 ``(B, K)``, of those means; NaN where a class saw fewer than two draws.
        draws: int64 ``(B, K)``, draws that a class was evaluated on. Where a class has fewer than the predicted one,
            its mean is over other draws: compare `differences` instead.
        evaluations: int64 ``(B, K)``, calls of the network that this took; the same unless a class has several prompts.
        differences: float64 ``(B, K)``, mean over common draws of a class's score minus the predicted class's; 0 for
            the predicted class. Noise is shared, so this is far more certain than a difference of `errors`. Below 0 for
            a class that was given up while it was ahead of the one that won later.
        difference_standard_errors: float64 ``(B, K)``, of those paired means.
        predictions: int64 ``(B,)``, index of the predicted class.
        probabilities: float64 ``(B, K)``, softmax of minus the paired difference in the summed error over the
            classifier's temperature, equation 7 of Li et al. (2023); 0 for a class that was not evaluated. The
            predicted class is the likeliest: others count as no better than it, even where their few draws say so. As
            good as the temperature is: fit it with `vl_diffusion.fit_temperature`.
        inner_evaluations: int64 ``(B,)``, calls of the network for names that a search only descended through.
        num_values: int64 ``(B,)``, values in the image that was denoised: a summed error is this many mean ones.
        pruned: bool ``(B, K)``, classes that the search gave up, or never looked at. The others are the predicted class
            and those that it could not rule out before its draws or evaluations ran out.
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

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def labels(self) -> tuple[str, ...]:
        """The predicted class names."""
        return tuple(self.classes[i] for i in self.predictions)

    @property
    def total_evaluations(self) -> np.ndarray:
        """Calls of the network that each image took in all, int64 ``(B,)``."""
        total: np.ndarray = self.evaluations.sum(1) + self.inner_evaluations
        return total

    @property
    def runners_up(self) -> np.ndarray:
        """Index of the class that came closest to the predicted one, int64 ``(B,)``."""
        others = np.where(np.isnan(self.differences), np.inf, np.maximum(self.differences, 0))
        others[np.arange(len(self)), self.predictions] = np.inf
        nearest: np.ndarray = others.argmin(1)
        return nearest

    @property
    def margins(self) -> np.ndarray:
        """Paired difference of the runner-up, float64 ``(B,)``; 0 where it was given up while it was ahead."""
        margins: np.ndarray = np.maximum(self.differences[np.arange(len(self)), self.runners_up], 0)
        return margins

    @property
    def margin_standard_errors(self) -> np.ndarray:
        """Standard error of each margin, float64 ``(B,)``."""
        errors: np.ndarray = self.difference_standard_errors[np.arange(len(self)), self.runners_up]
        return errors

    def difference_intervals(self, level: float = 0.95, *, anytime: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Intervals of the paired `differences`, one class at a time.

        Student's are for two classes and a number of draws that were chosen beforehand, as those of an exhaustive
        search. A race drops a class when its difference looks large, and names the winner after the fact: Student's
        are then too short. Those of ``anytime=True`` are wider, and hold whenever a search stops, at whichever class.

        Args:
            level: Probability with which an interval covers the difference over infinitely many draws, if they are
                independent and their differences normal.
            anytime: Whether it does so whatever the search saw when it stopped; a confidence sequence from the evidence
                that a race goes by, at an error that is shared out among the K - 1 classes that might have won.

        Returns:
            Lower and upper ends, float64 ``(B, K)``; NaN where a class saw fewer than two draws, and infinite where
            `anytime` has too few to say anything.

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


def summarize(
    errors: np.ndarray,
    scores: np.ndarray,
    prediction: int,
    given_up: np.ndarray,
    candidates: Candidates,
    *,
    classes: tuple[str, ...],
    image_id: int,
    num_values: int,
    temperature: float,
    combination: Combination = "mean",
) -> Classification:
    """The result of one image.

    Args:
        errors: ``(A, M)``, NaN where not evaluated.
        scores: ``(A, M)``, what the search compared.
        prediction: Index of the arm that the search found.
        given_up: bool ``(A,)``, arms that the search gave up.
        candidates: The arms; those without an owner are left out.
        classes: The class names.
        image_id: The id that its noise belongs to.
        num_values: Values in the image that was denoised.
        temperature: Divides the summed error before the softmax.
        combination: What the arms of a class say together, where it has several.
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
        evaluations = np.array([evaluations[of_class].sum() for of_class in members])
        # A prompt that was given up is no better than the best, whatever its few draws say.
        table[3] = np.where(given_up, np.maximum(difference, 0), difference)
        given_up = np.array([given_up[of_class].all() for of_class in members])
        table = np.stack([_of_class(table[:, of_class], scale, combination) for of_class in members], axis=1)
    mean, standard_error, draws, difference, difference_error = table
    label = int(candidates.class_indices[prediction])
    if combination == "logsumexp" and len(candidates) > len(classes):
        # A class of many good prompts may be ahead of the class of the best one.
        label = int(np.nanargmin(difference))
        difference_error[label] = 0.0
        given_up[label] = False
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
        pruned=given_up[None],
    )


def class_probabilities(differences: np.ndarray, predictions: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Softmax of minus `scale` times the differences, in which no class is as likely as the predicted one.

    Args:
        differences: ``(B, K)``, to the predicted class.
        predictions: int64 ``(B,)``, indices of the predicted classes.
        scale: A number, or one an image, ``(B, 1)``.
    """
    behind = np.maximum(differences, _HAIR / scale)
    np.put_along_axis(behind, predictions[:, None], 0.0, axis=1)
    return softmax_probabilities(behind, scale)


def softmax_probabilities(differences: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Softmax of minus `scale` times the differences, float64 ``(B, K)``; 0 where a difference is NaN.

    Args:
        differences: ``(B, K)``.
        scale: A number, or one an image, ``(B, 1)``.
    """
    logits = np.where(np.isnan(differences), -np.inf, -scale * differences)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: np.ndarray = weights / weights.sum(1, keepdims=True)
    return probabilities


def _of_class(table: np.ndarray, scale: float, combination: Combination) -> np.ndarray:
    """The row of a class from the columns ``(5, arms)`` of its prompts: of the best one, or of their mixture."""
    differences = table[3]
    if np.isnan(differences).all():
        return np.array(table[:, 0])
    best = int(np.nanargmin(differences))
    row: np.ndarray = table[:, best].copy()
    if combination == "logsumexp":
        relative = np.nan_to_num(np.exp(-scale * (differences - differences[best])))
        share = relative / relative.sum()
        for quantity in (0, 1, 4):
            # A prompt given up after one draw has no standard error; the best one decides whether the class has.
            known = ~np.isnan(table[quantity])
            if known[best]:
                row[quantity] = table[quantity, known] @ share[known] / share[known].sum()
        row[3] = differences[best] - np.log(relative.mean()) / scale
    return row


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
