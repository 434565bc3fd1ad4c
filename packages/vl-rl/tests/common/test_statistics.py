"""Interquartile means and bootstrap intervals against scipy, brute force and closed forms."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, trim_mean
from vl_rl.common.statistics import (
    Interval,
    area_under_curve,
    interquartile_mean,
    paired_bootstrap,
    probability_of_improvement,
    save_scores,
    stratified_bootstrap,
)


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 4), (7, 3)])
def test_interquartile_mean_is_the_trimmed_mean(shape):
    scores = np.random.default_rng(0).normal(size=shape)
    assert interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25, axis=None), abs=1e-12)
    np.testing.assert_allclose(interquartile_mean(scores, axis=0), trim_mean(scores, 0.25, axis=0), atol=1e-12)


def test_bootstrap_has_the_distribution_of_all_resamples():
    """Three runs of two tasks have 27 resamples each, 729 in all; the quantiles are those of the enumeration."""
    scores = np.array([[0.0, 10.0], [1.0, 30.0], [5.0, 20.0]])
    columns = [list(product(scores[:, task], repeat=3)) for task in (0, 1)]
    exact = np.array([interquartile_mean([*a, *b]) for a in columns[0] for b in columns[1]])
    for level in (0.5, 0.8, 0.95):
        found = stratified_bootstrap(scores, level=level, repetitions=40_000)
        low, high = ((1 - level) / 2, (1 + level) / 2)
        # The distribution has atoms: compare probabilities on either side rather than quantiles.
        assert (exact < found.low - 1e-9).mean() <= low + 0.01
        assert (exact <= found.low + 1e-9).mean() >= low - 0.01
        assert (exact < found.high - 1e-9).mean() <= high + 0.01
        assert (exact <= found.high + 1e-9).mean() >= high - 0.01
    assert found.estimate == interquartile_mean(scores)


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    """The mean of many runs: half width 1.96 standard errors."""
    scores = np.random.default_rng(1).normal(size=(400, 1))
    found = stratified_bootstrap(scores, np.mean, repetitions=4000)
    half = 1.96 * scores.std() / 20
    assert found.low == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(scores.mean() + half, abs=0.1 * half)


def test_strata_keep_the_weight_of_tasks():
    """Runs that agree give an interval of no width, however much tasks differ."""
    assert stratified_bootstrap([[1.0, 100.0]] * 4) == Interval(50.5, 50.5, 50.5)


def test_pairs_cancel_what_runs_have_in_common():
    runs = np.random.default_rng(2).normal(scale=10, size=(5, 3))
    found = paired_bootstrap(runs + 1.0, runs)
    np.testing.assert_allclose([found.estimate, found.low, found.high], 1.0, atol=1e-12)


def test_probability_of_improvement_is_the_rank_statistic():
    rng = np.random.default_rng(3)
    ours, theirs = rng.integers(0, 6, (6, 2)).astype(float), rng.integers(0, 6, (4, 2)).astype(float)
    expected = np.mean([mannwhitneyu(ours[:, t], theirs[:, t]).statistic / 24 for t in (0, 1)])
    found = probability_of_improvement(ours, theirs)
    assert found.estimate == pytest.approx(expected)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_same_seed_gives_the_same_interval():
    scores = np.random.default_rng(4).normal(size=(5, 2))
    assert stratified_bootstrap(scores, seed=1) == stratified_bootstrap(scores, seed=1)
    assert stratified_bootstrap(scores, seed=1) != stratified_bootstrap(scores, seed=2)


def test_area_of_a_line_is_its_middle():
    assert area_under_curve([0, 1, 10], [0.0, 0.1, 1.0]) == pytest.approx(0.5)


def test_saved_scores_are_the_dictionary_of_rliable(tmp_path):
    scores = {"sac": np.ones((3, 2)), "sac, air": np.zeros((3, 2))}
    save_scores(tmp_path / "scores.npz", scores)
    found = dict(np.load(tmp_path / "scores.npz"))
    assert list(found) == list(scores)
    for name, value in scores.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interquartile_mean([]), "scores must hold at least one value"),
        (lambda: stratified_bootstrap(np.ones((2, 2, 2))), r"scores must be of shape \(runs, tasks\)"),
        (lambda: stratified_bootstrap([1.0, np.nan]), "scores must be finite, got nan"),
        (lambda: stratified_bootstrap([1.0], level=95), "level must lie between 0 and 1, got 95"),
        (lambda: stratified_bootstrap([1.0], repetitions=0), "repetitions must be at least 1, got 0"),
        (lambda: paired_bootstrap([1.0, 2.0], [1.0]), r"baseline must have the shape of scores, \(2, 1\)"),
        (lambda: probability_of_improvement([[1.0, 2.0]], [[1.0]]), "baseline must have the tasks of scores, 2"),
        (lambda: area_under_curve([1, 1], [0, 0]), "increasing steps"),
    ],
)
def test_what_is_no_score_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
