"""Calibrated probabilities: temperature scaling on labeled images, and the calibration error.

The softmax of summed errors is extremely overconfident, and that of mean errors almost uniform. A single temperature
calibrates it without changing any prediction (Guo et al., 2017, "On Calibration of Modern Neural Networks", section
4.2). The negative log-likelihood is convex in the inverse temperature, so the fit is the root of an increasing
function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from vl_diffusion.classification.result import Classification, class_probabilities, softmax_probabilities

Binning = Literal["width", "mass"]
"""Bins of confidence: of equal width, or with equally many images."""


@dataclass(frozen=True)
class TemperatureFit:
    """A fitted temperature with statistics of the fit."""

    value: float
    """The temperature, for ``DiffusionClassifier(temperature=...)`` and :func:`apply_temperature`."""

    nll_before: float
    """Mean negative log-likelihood of the true classes before the fit, in nats."""

    nll_after: float
    """Mean negative log-likelihood of the true classes with the fitted temperature, in nats."""

    images: int
    """Number of labeled images."""

    pruned: int
    """Number of images whose true class the search pruned, so that its difference is over fewer draws."""

    unseen: int
    """Number of images whose true class was never evaluated: scored with the floor, and not used in the fit."""

    separable: bool
    """True if every true class has the smallest error, so that the likelihood has no maximum."""


def fit_temperature(
    result: Classification, labels: Sequence[int] | np.ndarray, *, floor: float = 1e-6
) -> TemperatureFit:
    """Fit the temperature that maximizes the likelihood of the true classes of labeled images.

    Fit with the same search that will be used: the difference of a class that was pruned early is over few draws, and
    biased upwards by the selection. If every prediction is correct, the likelihood has no maximum (it increases as the
    temperature goes to 0); the temperature is then the one at which the mean confidence equals Laplace's estimate of
    the accuracy, ``(n + 1) / (n + 2)`` for n images.

    For classes with several prompts and ``prompt_combination="logsumexp"``, the differences depend on the old
    temperature: classify with the new one and fit again until it converges.

    Args:
        result: The classification of B labeled images, with any temperature.
        labels: int ``(B,)``, indices of the true classes; negative for images without a label, which are left out.
        floor: Probability assigned to a true class that was not evaluated.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If there is no label, a label is not a class, or the true classes do not have smaller errors than
            the others, so that uniform probabilities are the most likely.

    Example:
        >>> from vl_core.data import open_dataset
        >>> data = open_dataset("fashion", split="test")
        >>> classifier = DiffusionClassifier.from_pretrained("fashion", search=Exhaustive(4))
        >>> result = classifier.classify([data[i][0] for i in range(8)])
        >>> fitted = fit_temperature(result, [data[i][1] for i in range(8)])
        >>> calibrated = apply_temperature(result, fitted.value)
    """
    indices = _checked_labels(labels, *result.differences.shape)
    if not 0 < floor < 1:
        raise ValueError(f"floor must be a probability above 0 and below 1, got {floor}")
    labeled = np.flatnonzero(indices >= 0)
    own = indices[labeled]
    seen = ~np.isnan(result.differences[labeled, own])
    rows, true = labeled[seen], own[seen]
    if not len(rows):
        raise ValueError(f"none of the {len(labeled)} labeled images was evaluated under its true class")
    energies = np.maximum(result.differences[rows], 0) * result.num_values[rows, None]
    inverse, separable = fit_inverse_temperature(energies, true)
    return TemperatureFit(
        value=1 / inverse,
        nll_before=negative_log_likelihood(result, indices, floor=floor),
        nll_after=negative_log_likelihood(apply_temperature(result, 1 / inverse), indices, floor=floor),
        images=len(labeled),
        pruned=int((result.pruned[labeled, own] & seen).sum()),
        unseen=int((~seen).sum()),
        separable=separable,
    )


def apply_temperature(result: Classification, temperature: float) -> Classification:
    """Recompute the probabilities with another temperature; errors and predictions stay the same.

    Raises:
        ValueError: If the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    scale = result.num_values[:, None] / temperature
    return replace(result, probabilities=class_probabilities(result.differences, result.predictions, scale))


def negative_log_likelihood(
    result: Classification, labels: Sequence[int] | np.ndarray, *, floor: float = 1e-6
) -> float:
    """Mean negative log-likelihood of the true classes, in nats.

    Args:
        result: The classification of B labeled images.
        labels: int ``(B,)``, indices of the true classes; images with a negative label are left out.
        floor: Probability assigned to a true class that was not evaluated.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If there is no label, or a label is not a class.
    """
    indices = _checked_labels(labels, *result.differences.shape)
    rows = np.flatnonzero(indices >= 0)
    seen = ~np.isnan(result.differences[rows, indices[rows]])
    # A probability that underflows in float64 must not become an infinite loss.
    own = np.maximum(result.probabilities[rows, indices[rows]], np.finfo(float).tiny)
    return float(-np.log(np.where(seen, own, floor)).mean())


def fit_inverse_temperature(energies: np.ndarray, labels: np.ndarray) -> tuple[float, bool]:
    """Fit the factor b that maximizes the likelihood of the labels under the softmax of ``-b * energies``.

    Args:
        energies: float64 ``(B, K)``, smaller is likelier; NaN for classes that were not evaluated.
        labels: int64 ``(B,)``, each an evaluated class.

    Returns:
        The factor, and True if every label has the smallest energy, so that the likelihood has no maximum; the factor
        is then the one at which the mean confidence is ``(B + 1) / (B + 2)``.

    Raises:
        ValueError: If the likelihood decreases from zero on, or does not depend on the factor.
    """
    from scipy.optimize import brentq

    gaps = energies - energies[np.arange(len(labels)), labels][:, None]
    # An image with a single evaluated class has no information.
    gaps = gaps[(~np.isnan(gaps)).sum(1) > 1]
    spread = np.nanmean(np.abs(gaps)) if len(gaps) else 0.0
    if not (spread > 0 and np.nanmean(gaps, axis=1).mean() > 1e-12 * spread):
        raise ValueError(
            "the true classes must have smaller errors than the others on average, but uniform probabilities are "
            "the most likely; check that labels are in the order of the classes, or fit on more images"
        )

    def slope(log_factor: float) -> float:
        """Slope of the negative log-likelihood: minus the expected gap under the probabilities of this factor."""
        probabilities = softmax_probabilities(gaps, np.exp(log_factor))
        return float(-(probabilities * np.nan_to_num(gaps)).sum(1).mean() / spread)

    def excess_confidence(log_factor: float) -> float:
        confidence = softmax_probabilities(gaps, np.exp(log_factor)).max(1).mean()
        return float(confidence - (len(gaps) + 1) / (len(gaps) + 2))

    separable = not (np.nanmin(gaps, axis=1) < 0).any()
    rising = excess_confidence if separable else slope
    low = high = -np.log(spread)
    while rising(low) > 0:
        low -= 2.0
    for _ in range(20):
        if rising(high) > 0:
            return float(np.exp(brentq(rising, low, high, xtol=1e-12))), separable
        high += 2.0
    # If classes tie exactly, the mean confidence may stay below the target for every factor.
    return float(np.exp(high)), separable


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Confidence and accuracy of the images in each bin of confidence, without empty bins.

    Attributes:
        confidence: float64 ``(b,)``, mean probability of the predicted class.
        accuracy: float64 ``(b,)``, fraction of correct predictions.
        count: int64 ``(b,)``, number of images in the bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean absolute difference of accuracy and confidence, weighted by `count`."""
        return float(np.abs(self.accuracy - self.confidence) @ self.count / self.count.sum())


def reliability_curve(
    probabilities: np.ndarray, labels: Sequence[int] | np.ndarray, *, bins: int = 15, binning: Binning = "width"
) -> ReliabilityCurve:
    """Accuracy as a function of confidence, in bins.

    Args:
        probabilities: ``(B, K)``, rows that add up to one.
        labels: int ``(B,)``, indices of the true classes; images with a negative label are left out.
        bins: Number of bins.
        binning: ``"width"`` divides [0, 1] into equal intervals, open below and closed above; ``"mass"`` puts the same
            number of images into each bin, up to rounding.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If `probabilities` are not probabilities, there is no label, or a label is not a class.
    """
    values = np.asarray(probabilities, np.float64)
    if values.ndim != 2 or not ((values >= 0) & (values <= 1 + 1e-9)).all() or not np.allclose(values.sum(1), 1):
        raise ValueError(f"probabilities must be rows (B, K) that add up to one, got shape {values.shape}")
    indices = _checked_labels(labels, *values.shape)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if binning not in get_args(Binning):
        raise ValueError(f"binning must be width or mass, got {binning!r}")
    labeled = indices >= 0
    confidence = values[labeled].max(1)
    correct = (values[labeled].argmax(1) == indices[labeled]).astype(np.float64)
    if binning == "width":
        place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    else:
        place = np.empty(len(confidence), np.int64)
        place[np.argsort(confidence, kind="stable")] = np.arange(len(confidence)) * bins // len(confidence)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    means = [np.bincount(place, of, bins)[used] / count[used] for of in (confidence, correct)]
    return ReliabilityCurve(means[0], means[1], count[used])


def expected_calibration_error(
    probabilities: np.ndarray, labels: Sequence[int] | np.ndarray, *, bins: int = 15, binning: Binning = "width"
) -> float:
    """Expected calibration error (Naeini et al., 2015), from 0 to 1; see :func:`reliability_curve`.

    Biased upwards for bins with few images: only compare values for the same number of images and bins.
    """
    return reliability_curve(probabilities, labels, bins=bins, binning=binning).expected_error


def _checked_labels(labels: Any, num_images: int, num_classes: int) -> np.ndarray:
    """Convert labels to int64 ``(num_images,)``, each below `num_classes` and at least one not negative."""
    values = np.asarray(labels)
    if values.shape != (num_images,):
        raise ValueError(f"labels must have one class for each of the {num_images} images, got shape {values.shape}")
    if num_images and not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"labels must be integers, indices of classes, got {values.dtype}")
    if not (values >= 0).any():
        raise ValueError(f"labels must have at least one class, got none in {num_images}; negative labels are ignored")
    if (values >= num_classes).any():
        raise ValueError(f"labels must be below the number of classes, {num_classes}, got {values.max()}")
    return values.astype(np.int64)
