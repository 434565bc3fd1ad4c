"""Temperatures and calibration errors whose values are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from vl_diffusion import (
    Classification,
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    reliability_curve,
)
from vl_diffusion.classification.calibration import fit_inverse_temperature
from vl_diffusion.classification.result import ARRAYS, softmax_probabilities

VALUES = 50


def classification(differences: np.ndarray, draws: np.ndarray | None = None) -> Classification:
    """A result with these paired differences, made with temperature 1."""
    images, classes = differences.shape
    arrays = {name: np.zeros((images, classes)) for name in ARRAYS}
    arrays["image_ids"] = np.arange(images)
    arrays["differences"] = differences
    arrays["draws"] = np.where(np.isnan(differences), 0, 9) if draws is None else draws
    arrays["pruned"] = arrays["draws"] < arrays["draws"].max(1, keepdims=True)
    arrays["predictions"] = np.nanargmin(differences, axis=1)
    arrays["probabilities"] = softmax_probabilities(differences, VALUES)
    arrays["inner_evaluations"] = np.zeros(images, np.int64)
    arrays["num_values"] = np.full(images, VALUES)
    arrays["classes"] = tuple(f"class {k}" for k in range(classes))
    return Classification(**arrays)


def drawn_labels(images: int, classes: int, temperature: float) -> tuple[Classification, np.ndarray]:
    """Differences, and labels drawn from the probabilities of this temperature."""
    rng = np.random.default_rng(0)
    errors = rng.normal(0, 0.1, (images, classes))
    result = classification(errors - errors.min(1, keepdims=True))
    probabilities = apply_temperature(result, temperature).probabilities
    return result, (probabilities.cumsum(1) > rng.random((images, 1))).argmax(1)


def test_the_true_temperature_is_recovered():
    result, labels = drawn_labels(4000, 6, temperature=7.0)
    fitted = fit_temperature(result, labels)
    assert fitted.value == pytest.approx(7.0, rel=0.05)
    assert fitted.nll_after < fitted.nll_before
    assert (fitted.images, fitted.pruned, fitted.unseen, fitted.separable) == (4000, 0, 0, False)


def test_the_fitted_temperature_maximizes_the_likelihood():
    result, labels = drawn_labels(200, 5, temperature=3.0)
    fitted = fit_temperature(result, labels)

    def nll(temperature: float) -> float:
        return -np.log(apply_temperature(result, temperature).probabilities[np.arange(200), labels]).mean()

    assert fitted.nll_before == pytest.approx(nll(1.0))
    assert fitted.nll_after == pytest.approx(nll(fitted.value))
    assert all(nll(fitted.value * factor) > fitted.nll_after for factor in (0.5, 0.98, 1.02, 2.0))


def test_two_classes_with_one_gap_have_a_closed_form():
    # Three of four images are right, all by the same gap g: exp(n g / T) = 3.
    result = classification(np.tile([0.0, 0.2], (4, 1)))
    fitted = fit_temperature(result, [0, 0, 0, 1])
    assert fitted.value == pytest.approx(VALUES * 0.2 / np.log(3))
    probabilities = apply_temperature(result, fitted.value).probabilities
    np.testing.assert_allclose(probabilities, np.tile([0.75, 0.25], (4, 1)))


def test_the_fit_does_not_depend_on_the_old_temperature():
    result, labels = drawn_labels(100, 5, temperature=3.0)
    other = apply_temperature(result, 0.01)
    assert fit_temperature(other, labels).value == pytest.approx(fit_temperature(result, labels).value)
    np.testing.assert_array_equal(other.predictions, result.predictions)


def test_without_an_error_the_confidence_is_laplaces_estimate():
    result = classification(np.array([[0.0, 0.1, 0.3], [0.2, 0.0, 0.4]]))
    fitted = fit_temperature(result, [0, 1])
    assert fitted.separable
    assert apply_temperature(result, fitted.value).probabilities.max(1).mean() == pytest.approx(3 / 4)


def test_unevaluated_classes_count_with_the_floor_only():
    result, labels = drawn_labels(100, 5, temperature=3.0)
    more = np.concatenate([result.differences, [[0.0, 0.1, np.nan, np.nan, 0.2]]])
    fitted = fit_temperature(classification(more), [*labels, 3], floor=1e-3)
    alone = fit_temperature(result, labels)
    assert fitted.value == pytest.approx(alone.value)
    assert fitted.unseen == 1
    assert fitted.nll_after == pytest.approx((100 * alone.nll_after - np.log(1e-3)) / 101)


def test_classes_that_were_pruned_early_are_counted():
    draws = np.array([[9, 9, 2], [9, 2, 9], [9, 9, 9]])
    result = classification(np.array([[0.0, 0.1, 0.3], [0.0, 0.1, 0.2], [0.0, 0.1, 0.2]]), draws)
    assert fit_temperature(result, [0, 1, 0]).pruned == 1


def test_images_without_a_label_are_left_out():
    result, labels = drawn_labels(100, 5, temperature=3.0)
    some = np.where(np.arange(100) % 2, labels, -1)
    half = replace(result, **{name: getattr(result, name)[1::2] for name in ARRAYS})
    fitted = fit_temperature(result, some)
    assert fitted.images == 50
    assert fitted.value == pytest.approx(fit_temperature(half, labels[1::2]).value)


def test_the_factor_is_found_in_any_unit():
    rng = np.random.default_rng(1)
    energies, labels = rng.normal(size=(60, 4)), rng.integers(0, 4, 60)
    energies[np.arange(60), labels] -= 0.7
    factor, _ = fit_inverse_temperature(energies, labels)
    for unit in (1e-9, 1e9):
        assert fit_inverse_temperature(energies * unit, labels)[0] == pytest.approx(factor / unit)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 0], ValueError, "each of the 4 images, got shape"),
        ([0, 0, 0, 2], ValueError, "below the number of classes, 2, got 2"),
        ([0.0, 0.0, 0.0, 1.0], TypeError, "labels must be integers"),
        ([-1, -1, -1, -1], ValueError, "at least one class, got none in 4"),
        ([1, 1, 1, 0], ValueError, "check that labels are in the order of the classes"),
    ],
)
def test_invalid_labels_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        fit_temperature(classification(np.tile([0.0, 0.2], (4, 1))), labels)


def test_a_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        apply_temperature(classification(np.array([[0.0, 0.2]])), 0)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_a_calibrated_classifier_has_no_calibration_error(binning):
    # Of images with confidence 0.6, six of ten are right; of those with 0.9, nine of ten.
    probabilities = np.array([[0.6, 0.4]] * 10 + [[0.9, 0.1]] * 10)
    labels = [0] * 6 + [1] * 4 + [0] * 9 + [1]
    assert expected_calibration_error(probabilities, labels, bins=2, binning=binning) == pytest.approx(0)
    curve = reliability_curve(probabilities, labels, bins=10, binning="width")
    np.testing.assert_allclose(curve.accuracy, [0.6, 0.9])
    np.testing.assert_allclose(curve.confidence, [0.6, 0.9])
    assert curve.count.tolist() == [10, 10]


def test_the_calibration_error_is_the_weighted_distance_of_bins():
    probabilities = np.array([[0.9, 0.1]] * 3 + [[0.55, 0.45]])
    labels = [0, 1, 1, 0]
    # In bins of 0.1: three images of confidence 0.9 and accuracy 1/3; one of 0.55 and 1.
    expected = 3 / 4 * (0.9 - 1 / 3) + 1 / 4 * (1 - 0.55)
    assert expected_calibration_error(probabilities, labels, bins=10) == pytest.approx(expected)
    # One bin of all: mean confidence 0.8125 against an accuracy of a half.
    assert expected_calibration_error(probabilities, labels, bins=1, binning="mass") == pytest.approx(0.3125)


def test_bins_of_equal_mass_hold_equally_many_images():
    confidence = np.linspace(0.5, 1, 12)
    curve = reliability_curve(np.stack([confidence, 1 - confidence], 1), np.zeros(12, int), bins=4, binning="mass")
    assert curve.count.tolist() == [3, 3, 3, 3]
    np.testing.assert_allclose(curve.confidence, confidence.reshape(4, 3).mean(1))


def test_images_of_unknown_class_are_in_no_bin():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert reliability_curve(probabilities, [0, -1]).count.tolist() == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probabilities": [[0.5, 0.2]]}, "add up to one"),
        ({"probabilities": [[1.5, -0.5]]}, "add up to one"),
        ({"bins": 0}, "bins must be at least 1, got 0"),
        ({"binning": "kmeans"}, "width or mass, got 'kmeans'"),
    ],
)
def test_invalid_bins_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        reliability_curve(**{"probabilities": [[0.5, 0.5]], "labels": [0], **arguments})
