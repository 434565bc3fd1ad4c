"""Bootstrap intervals and paired tests against closed forms."""

from math import comb, sqrt

import numpy as np
import pytest
from scipy import stats
from vl_vlm import bootstrap_interval, paired_bootstrap, sign_test
from vl_vlm.evaluation.intervals import resampled_means


def test_the_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(values, samples=4000)
    half = 1.96 * values.std() / sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_items_of_one_group_stay_together():
    values = np.repeat(np.arange(100) % 2, 25).astype(float)  # 25 equal items an image: 100 independent ones
    together = bootstrap_interval(values, groups=np.repeat(np.arange(100), 25))
    apart = bootstrap_interval(values)
    assert together[1] - together[0] == pytest.approx(5 * (apart[1] - apart[0]), rel=0.15)
    assert together == bootstrap_interval(np.arange(100) % 2)


def test_a_draw_is_the_mean_over_the_items_in_it():
    # One image with one caption found, one with three missed: both, the first twice, or the second twice.
    means = resampled_means(np.array([1.0, 0, 0, 0]), [0, 1, 1, 1], 100, 0)
    assert set(means) == {0, 1 / 4, 1}


def test_draws_depend_on_the_seed_alone():
    values = np.random.default_rng(0).random(20)
    assert (
        bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    )


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (5, 1), (3, 9), (40, 40), (700, 300)])
def test_the_sign_test_is_the_binomial_one(wins, losses):
    found = sign_test([0.5] * wins + [-1] * losses + [0] * 7)
    p = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert found == (wins, losses, pytest.approx(p, rel=1e-9))


def test_mcnemar_by_hand():
    first, second = np.array([1, 1, 1, 1, 0, 0]), np.array([0, 0, 0, 1, 1, 0])
    tail = (comb(4, 0) + comb(4, 1)) / 2**4
    assert sign_test(first - second) == (3, 1, 2 * tail)


def test_the_paired_bootstrap_holds_its_level_and_finds_a_difference():
    generator = np.random.default_rng(0)
    same = [paired_bootstrap(generator.normal(size=40), samples=199)[2] for _ in range(200)]
    assert 0.02 < np.mean(np.array(same) <= 0.05) < 0.11
    assert paired_bootstrap(generator.normal(1, 1, 40), samples=199)[2] == 0.01  # the least that 199 draws can give
    assert paired_bootstrap(np.zeros(5), samples=199) == (0, 0, 1)
