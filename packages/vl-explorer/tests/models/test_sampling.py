"""Tier masses, the likelihood ratio, ties, and draws that are one function of seed and iteration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from vl_explorer.models.sampling import draw, generator_of, query_distribution, softmax_with_ratio

SCORES = np.random.default_rng(0).standard_normal(5000)
NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_best_is_e_to_the_third_times_as_likely_as_the_worst(scale):
    shares = softmax_with_ratio(scale * SCORES)
    assert shares.max() / shares.min() == pytest.approx(math.e**3, rel=1e-9)
    assert shares.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("ratio", [0.1, 3.0, 5000.0])
def test_tiers_have_their_masses(ratio):
    shares = query_distribution(SCORES, ratio)[np.argsort(-SCORES)]
    masses = [part.sum() for part in np.split(shares, [250, 1000])]
    np.testing.assert_allclose(masses, [0.8, 0.1, 0.1], rtol=0, atol=1e-12)


def test_concepts_of_a_tier_keep_the_ratios_of_the_softmax():
    order = np.argsort(-SCORES)
    shares, softmax = query_distribution(SCORES)[order], softmax_with_ratio(SCORES)[order]
    for part in (slice(0, 250), slice(250, 1000), slice(1000, None)):
        ratios = shares[part] / softmax[part]
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("count", "masses"), [(1, [1]), (100, [1]), (250, [1]), (600, [8 / 9, 1 / 9]), (1001, [0.8, 0.1, 0.1])]
)
def test_fewer_concepts_than_ranks_share_the_mass(count, masses):
    scores = SCORES[:count]
    shares = query_distribution(scores)[np.argsort(-scores)]
    found = [part.sum() for part in np.split(shares, [250, 1000]) if len(part)]
    np.testing.assert_allclose(found, masses, atol=1e-12)


def test_equal_scores_are_equally_likely():
    np.testing.assert_allclose(query_distribution(np.full(5000, 0.3)), 1 / 5000)
    np.testing.assert_allclose(softmax_with_ratio(np.zeros(7)), 1 / 7)
    scores = np.round(SCORES, 1)  # runs across the borders of tiers
    shares = query_distribution(scores)
    for value in np.unique(scores):
        assert np.ptp(shares[scores == value]) == 0
    assert shares.sum() == pytest.approx(1, abs=1e-12)
    permutation = np.random.default_rng(1).permutation(5000)
    np.testing.assert_allclose(query_distribution(scores[permutation]), shares[permutation], rtol=1e-9)


def test_draws_are_distinct_and_a_function_of_seed_and_iteration():
    shares = query_distribution(SCORES)
    first = draw(shares, 256, seed=3, iteration=7)
    assert len(set(first)) == 256
    np.testing.assert_array_equal(first, draw(shares, 256, seed=3, iteration=7))
    np.testing.assert_array_equal(first[:10], draw(shares, 10, seed=3, iteration=7))
    for seed, iteration in ((3, 8), (4, 7), (7, 3)):
        assert len(set(first) & set(draw(shares, 256, seed=seed, iteration=iteration))) < 256
    # Numbers of this generator, which later versions must keep.
    assert draw(np.ones(1000), 4, seed=3, iteration=7).tolist() == [514, 193, 717, 483]


def test_draws_follow_the_probabilities_one_after_another():
    shares = np.array([0.5, 0.3, 0.2, 0.0])
    pairs = np.array([draw(shares, 2, seed=0, iteration=i) for i in range(20_000)])
    firsts = np.bincount(pairs[:, 0], minlength=4) / len(pairs)
    np.testing.assert_allclose(firsts, shares, atol=0.015)
    after_the_first = np.bincount(pairs[pairs[:, 0] == 0, 1], minlength=4) / (pairs[:, 0] == 0).sum()
    np.testing.assert_allclose(after_the_first, [0, 0.6, 0.4, 0], atol=0.02)
    assert len(draw(shares, 9, seed=0, iteration=0)) == 3
    assert draw(shares, 0, seed=0, iteration=0).tolist() == []


def test_generators_of_iterations_differ_and_repeat():
    numbers = [generator_of(*pair).random() for pair in ((0, 1), (0, 1), (1, 0), (0, 2))]
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: query_distribution([]), r"scores must have shape \(N,\)"),
        (lambda: query_distribution([1.0, NAN]), "scores must be finite, got nan"),
        (lambda: softmax_with_ratio([[1.0]]), r"got \(1, 1\)"),
        (lambda: softmax_with_ratio([1.0], 0), "ratio must be"),
        (lambda: query_distribution([1.0], ratio=INFINITE), "ratio must be"),
        (lambda: query_distribution([1.0], tiers=(5,)), "masses must be 2 shares"),
        (lambda: query_distribution([1.0], masses=(0.8, 0.1, 0.2)), "sum to 1"),
        (lambda: query_distribution([1.0], tiers=(0, 5)), "tiers must be sizes"),
        (lambda: query_distribution([1.0], masses=(0.0, 0.5, 0.5)), "give 1 concepts a chance"),
        (lambda: draw([0.5, -0.5], 1, 0, 0), "must be probabilities"),
        (lambda: draw([0.5], -1, 0, 0), "count must be at least 0"),
        (lambda: draw([0.5], 1, -1, 0), "seed must be in"),
        (lambda: draw([0.5], 1, 0, 2**64), "iteration must be in"),
    ],
)
def test_what_is_out_of_range_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
