"""Metrics against counts of pairs, hand-worked examples and scikit-learn's definitions, ties included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from vl_density.ood.metrics import METRICS, OriginalScores, aupr, auroc, bootstrap, fpr95, to_pytorch_ood


def pairs(inside, outside):
    """Share of pairs in which the one outside scores higher, a tie counting half."""
    counts = [(high > low) + 0.5 * (high == low) for low, high in itertools.product(inside, outside)]
    return float(np.mean(counts))


@pytest.mark.parametrize("offset", [0.0, 1500.0, 1e6])
@pytest.mark.parametrize("spread", [0.001, 1.0])
def test_auroc_is_the_count_of_pairs_at_any_height(offset, spread):
    rng = np.random.default_rng(0)
    low, high = rng.normal(0, spread, 150) + offset, rng.normal(1.5 * spread, spread, 80) + offset
    assert abs(auroc(low, high) - pairs(low, high)) < 1e-12
    assert 0.7 < auroc(low, high) < 0.95


def test_auroc_counts_ties_half():
    rng = np.random.default_rng(1)
    low, high = rng.integers(0, 4, 60).astype(float), rng.integers(1, 5, 70).astype(float)
    assert abs(auroc(low, high) - pairs(low, high)) < 1e-12
    assert auroc(np.ones(3), np.ones(5)) == 0.5


def test_a_hand_worked_example():
    low, high = [0.1, 0.4, 0.35], [0.8, 0.35]
    # Falling thresholds 0.8, 0.4, 0.35, 0.1: found 1, 1, 2, 2; false alarms 0, 1, 2, 3.
    assert aupr(low, high) == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    assert fpr95(low, high) == pytest.approx(2 / 3)
    assert auroc(low, high) == pytest.approx((3 + 1.5) / 6)


def test_fpr95_of_heavy_ties_is_that_of_a_threshold_which_exists():
    assert fpr95(np.ones(10), np.ones(10)) == 1.0
    low, high = np.repeat([0.0, 1.0], [90, 10]), np.repeat([0.0, 1.0], [5, 95])
    assert fpr95(low, high) == pytest.approx(0.1)  # 95 of 100 are found at 1
    assert fpr95(low, np.repeat([0.0, 1.0], [6, 94])) == 1.0  # one too few, so the threshold is 0
    assert fpr95(np.arange(100.0), np.arange(100.0) + 200) == 0.0


def test_a_metric_does_not_depend_on_the_order_of_images():
    rng = np.random.default_rng(2)
    low, high = rng.integers(0, 3, 40).astype(float), rng.integers(0, 4, 30).astype(float)
    for metric in METRICS.values():
        assert metric(low, high) == pytest.approx(metric(rng.permutation(low), rng.permutation(high)), abs=1e-12)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    truth = 0.7602  # of two normal distributions a distance of 1 apart: Phi(1 / sqrt(2))
    hits = 0
    for trial in range(100):
        found = bootstrap(auroc, rng.normal(0, 1, 60), rng.normal(1, 1, 60), repetitions=200, seed=trial)
        hits += found.low <= truth <= found.high
    assert 88 <= hits <= 100


def test_pytorch_ood_takes_scores_and_negative_labels():
    scores, labels = to_pytorch_ood([1.0, 2.0], [3.0])
    assert (scores.dtype, scores.tolist()) == (torch.float64, [1, 2, 3])
    assert labels.tolist() == [0, 0, -1]


@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        ([], [1.0], r"inside must be at least one score, a vector, got shape \(0,\)"),
        ([[1.0]], [1.0], r"inside must be at least one score, a vector, got shape \(1, 1\)"),
        ([1.0], [np.nan], "outside must be finite, got nan"),
        ([-1500.0, -1400.0], [-900.0], "scores must be larger the more an image is out, but all are negative"),
    ],
)
def test_wrong_scores_are_named(inside, outside, message):
    for metric in METRICS.values():
        with pytest.raises(ValueError, match=f"^{message}"):
            metric(inside, outside)


def test_scores_of_an_ood_score_may_all_be_negative():
    low, high = (np.array(values).view(OriginalScores) for values in ([-3.0, -2.0], [-2.5, -1.0]))
    assert auroc(low, high) == 0.75
    assert auroc(low[:1], high) == 1.0
    # What is computed from scores may have any sign.
    for changed in (-low, low * 2, np.exp(low), -high):
        assert type(changed) is np.ndarray
    with pytest.raises(ValueError, match="larger the more an image is out"):
        auroc(low * 2, high * 2)


def test_log_probabilities_of_a_model_are_refused_with_their_graph():
    import torch

    log_probs = torch.tensor([-3.0, -2.0], requires_grad=True)
    with pytest.raises(ValueError, match="larger the more an image is out"):
        auroc(log_probs, log_probs)


def test_an_interval_needs_two_images():
    with pytest.raises(ValueError, match=r"^an interval needs at least two images in each set, got 2 and 1"):
        bootstrap(auroc, [1.0, 2.0], [3.0])
