"""Probabilities that mean what they say: a temperature fitted on labeled images, and how far confidence is off.

The softmax of summed errors is far too sure of itself or, of mean errors, hardly differs from uniform. One number
repairs that and moves no prediction (Guo et al., 2017, "On Calibration of Modern Neural Networks", section 4.2). The
likelihood is convex in the inverse temperature, so the fit is the root of an increasing function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from vl_diffusion.classification.result import Classification, class_probabilities, softmax_probabilities

Binning = Literal["width", "mass"]
"""Bins of confidence: equally wide, or with equally many images in each."""


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature, and what it was fitted on."""

    value: float
    """For ``DiffusionClassifier(temperature=...)`` and :func:`with_temperature`."""

    nll_before: float
    """Mean negative log-likelihood of the true classes under the given probabilities, in nats."""

    nll_after: float
    """The same under the new ones."""

    images: int
    """Labeled images that the figures are over."""

    pruned: int
    """Of these, images whose true class the search had given up: its difference is over fewer draws than others."""

    unseen: int
    """Of these, images whose true class was never evaluated: they count with the floor, and move no temperature."""

    separable: bool
    """Whether no true class was behind another, so that there is no most likely temperature."""


def fit_temperature(result: Classification, labels: Sequence[int] | np.ndarray, *, floor: float = 1e-6) -> Temperature:
    """The temperature under which the true classes of labeled images are most likely.

    Fit it with the search that it is for: a class that was given up early has a difference over few draws, which is
    larger than it would have been had the class been lucky enough to stay. Where every true class is the predicted one,
    the likelihood only grows as the temperature falls; the temperature is then that at which the mean confidence is
    Laplace's estimate of the accuracy, ``(n + 1) / (n + 2)`` of n images.

    Where a class has several prompts and ``prompt_combination="logsumexp"``, the differences themselves hold the old
    temperature: classify with the new one and fit again until it stays.

    Args:
        result: Of B labeled images; whatever temperature it was made with.
        labels: int ``(B,)``, indices of the true classes; negative for an image without a label, which is left out.
        floor: The probability that an image counts with whose true class was not evaluated at all.

    Raises:
        TypeError: If labels are no integers.
        ValueError: If there is no label, one is no class, or the true classes have no smaller errors than others, so
            that uniform probabilities are as likely as any.

    Example:
        >>> from vl_core.data import open_dataset
        >>> data = open_dataset("fashion", split="test")
        >>> classifier = DiffusionClassifier.from_pretrained("fashion", search=Exhaustive(4))
        >>> result = classifier.classify([data[i][0] for i in range(8)])
        >>> fitted = fit_temperature(result, [data[i][1] for i in range(8)])
        >>> calibrated = with_temperature(result, fitted.value)
    """
    truths = _checked_labels(labels, *result.differences.shape)
    if not 0 < floor < 1:
        raise ValueError(f"floor must be a probability above 0 and below 1, got {floor}")
    labeled = np.flatnonzero(truths >= 0)
    own = truths[labeled]
    seen = ~np.isnan(result.differences[labeled, own])
    rows, true = labeled[seen], own[seen]
    if not len(rows):
        raise ValueError(f"none of the {len(labeled)} labeled images was evaluated under its true class")
    energies = np.maximum(result.differences[rows], 0) * result.num_values[rows, None]
    inverse, separable = fit_inverse_temperature(energies, true)
    return Temperature(
        value=1 / inverse,
        nll_before=negative_log_likelihood(result, truths, floor=floor),
        nll_after=negative_log_likelihood(with_temperature(result, 1 / inverse), truths, floor=floor),
        images=len(labeled),
        pruned=int((result.pruned[labeled, own] & seen).sum()),
        unseen=int((~seen).sum()),
        separable=separable,
    )


def with_temperature(result: Classification, temperature: float) -> Classification:
    """The same errors and verdicts with the probabilities of another temperature.

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
    """The mean of minus the logarithm of the true classes' probabilities, in nats.

    Args:
        result: Of B labeled images.
        labels: int ``(B,)``, indices of the true classes; images with a negative one are left out.
        floor: The probability that an image counts with whose true class was not evaluated at all.

    Raises:
        TypeError: If labels are no integers.
        ValueError: If there is no label, or one is no class.
    """
    truths = _checked_labels(labels, *result.differences.shape)
    rows = np.flatnonzero(truths >= 0)
    seen = ~np.isnan(result.differences[rows, truths[rows]])
    # One that is too small for a float64 is not infinitely unlikely.
    own = np.maximum(result.probabilities[rows, truths[rows]], np.finfo(float).tiny)
    return float(-np.log(np.where(seen, own, floor)).mean())


def fit_inverse_temperature(energies: np.ndarray, labels: np.ndarray) -> tuple[float, bool]:
    """The factor b that makes the labels likeliest under the softmax of ``-b * energies``.

    Args:
        energies: float64 ``(B, K)``, smaller being likelier; NaN for classes that are out of the question.
        labels: int64 ``(B,)``, none of them out of the question.

    Returns:
        The factor, and whether there is none because no label has another class below it; the factor is then that at
        which the mean confidence is ``(B + 1) / (B + 2)``.

    Raises:
        ValueError: If the likelihood falls from zero on, or does not depend on the factor.
    """
    from scipy.optimize import brentq

    gaps = energies - energies[np.arange(len(labels)), labels][:, None]
    # An image with one class left says nothing.
    gaps = gaps[(~np.isnan(gaps)).sum(1) > 1]
    spread = np.nanmean(np.abs(gaps)) if len(gaps) else 0.0
    if not (spread > 0 and np.nanmean(gaps, axis=1).mean() > 1e-12 * spread):
        raise ValueError(
            "the true classes have no smaller errors than the others on average, so uniform probabilities are the "
            "likeliest; check that labels are in the order of the classes, or fit on more images"
        )

    def slope(log_factor: float) -> float:
        """Of the negative log-likelihood: minus the mean gap of the other classes, as probable as the factor has it."""
        probabilities = softmax_probabilities(gaps, np.exp(log_factor))
        return float(-(probabilities * np.nan_to_num(gaps)).sum(1).mean() / spread)

    def doubt(log_factor: float) -> float:
        confidence = softmax_probabilities(gaps, np.exp(log_factor)).max(1).mean()
        return float(confidence - (len(gaps) + 1) / (len(gaps) + 2))

    separable = not (np.nanmin(gaps, axis=1) < 0).any()
    rising = doubt if separable else slope
    low = high = -np.log(spread)
    while rising(low) > 0:
        low -= 2.0
    for _ in range(20):
        if rising(high) > 0:
            return float(np.exp(brentq(rising, low, high, xtol=1e-12))), separable
        high += 2.0
    # Where classes tie exactly, no factor may make the mean confidence as large as that.
    return float(np.exp(high)), separable


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy of the images in each bin of confidence, empty bins left out.

    Attributes:
        confidence: float64 ``(b,)``, mean probability of the predicted class.
        accuracy: float64 ``(b,)``, share of images whose predicted class is the true one.
        count: int64 ``(b,)``, images in the bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def expected_error(self) -> float:
        """The expected calibration error: the mean distance of accuracy and confidence, weighted by the images."""
        return float(np.abs(self.accuracy - self.confidence) @ self.count / self.count.sum())


def reliability_curve(
    probabilities: np.ndarray, labels: Sequence[int] | np.ndarray, *, bins: int = 15, binning: Binning = "width"
) -> Reliability:
    """How often images of each confidence are right.

    Args:
        probabilities: ``(B, K)``, each row adding up to one.
        labels: int ``(B,)``, indices of the true classes; images with a negative one are left out.
        bins: How many.
        binning: ``"width"`` cuts [0, 1] into equal intervals, open below and closed above; ``"mass"`` puts equally many
            images into each bin, as far as the number allows.

    Raises:
        TypeError: If labels are no integers.
        ValueError: If the probabilities are none, there is no label, or one is no class.
    """
    values = np.asarray(probabilities, np.float64)
    if values.ndim != 2 or not ((values >= 0) & (values <= 1 + 1e-9)).all() or not np.allclose(values.sum(1), 1):
        raise ValueError(f"probabilities must be rows (B, K) that add up to one, got shape {values.shape}")
    truths = _checked_labels(labels, *values.shape)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if binning not in get_args(Binning):
        raise ValueError(f"binning must be width or mass, got {binning!r}")
    labeled = truths >= 0
    confidence = values[labeled].max(1)
    right = (values[labeled].argmax(1) == truths[labeled]).astype(np.float64)
    if binning == "width":
        place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    else:
        place = np.empty(len(confidence), np.int64)
        place[np.argsort(confidence, kind="stable")] = np.arange(len(confidence)) * bins // len(confidence)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    means = [np.bincount(place, of, bins)[used] / count[used] for of in (confidence, right)]
    return Reliability(means[0], means[1], count[used])


def expected_calibration_error(
    probabilities: np.ndarray, labels: Sequence[int] | np.ndarray, *, bins: int = 15, binning: Binning = "width"
) -> float:
    """The mean distance of confidence and accuracy over bins (Naeini et al., 2015), from 0 to 1; see
    :func:`reliability_curve`.

    It is biased upwards where bins hold few images: compare figures of equally many images and bins only.
    """
    return reliability_curve(probabilities, labels, bins=bins, binning=binning).expected_error


def _checked_labels(labels: Any, images: int, classes: int) -> np.ndarray:
    """Labels as int64 ``(images,)``, each below `classes`, and at least one not negative."""
    values = np.asarray(labels)
    if values.shape != (images,):
        raise ValueError(f"labels must hold one class for each of the {images} images, got shape {values.shape}")
    if images and not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"labels must be integers, indices of classes, got {values.dtype}")
    if not (values >= 0).any():
        raise ValueError(f"labels must hold at least one class, got none among {images}; negative ones are unknown")
    if (values >= classes).any():
        raise ValueError(f"labels must be below the number of classes, {classes}, got {values.max()}")
    return values.astype(np.int64)
