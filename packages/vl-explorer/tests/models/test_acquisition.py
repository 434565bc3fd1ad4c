"""Scores are what their formulas say, and a diverse batch is spread."""

from __future__ import annotations

import numpy as np
import pytest
from explorer_dense import unit_rows
from vl_explorer.models.acquisition import diverse, keep_observed, mean_plus_std, thompson, upper_bound
from vl_explorer.models.gaussian_process import GaussianProcess
from vl_explorer.models.linear import LinearModel
from vl_explorer.models.nearest import NearestModel


def clusters():
    """Concepts in 10 tight clusters of 10, and a model that likes the first cluster best."""
    centers = np.repeat(unit_rows(10, 8), 10, axis=0)
    embeddings = centers + 0.01 * np.random.default_rng(0).standard_normal(centers.shape)
    return embeddings, NearestModel(embeddings, embeddings[0])


def test_bounds_are_mean_and_deviations():
    model = GaussianProcess(unit_rows(30, 3))
    model.observe([1, 2], [0.5, 0.7])
    mean, std = model.predict()
    generator = np.random.default_rng(0)
    np.testing.assert_array_equal(mean_plus_std(model, generator), mean + std)
    np.testing.assert_array_equal(upper_bound(2.5)(model, generator), mean + 2.5 * std)
    np.testing.assert_array_equal(upper_bound(0)(model, generator), mean)


def test_thompson_depends_on_the_generator_alone():
    for model in (GaussianProcess(unit_rows(30, 3)), LinearModel(unit_rows(30, 3))):
        model.observe([1, 2], [0.5, 0.7])
        first, again, other = (thompson(model, np.random.default_rng(seed)) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert (first != other).all()


def test_diverse_batch_visits_other_clusters():
    _, model = clusters()
    generator = np.random.default_rng(0)
    greedy = mean_plus_std(model, generator).argsort()[::-1][:5] // 10
    spread = diverse(5, penalty=3.0)(model, generator).argsort()[::-1][:5] // 10
    assert set(greedy) == {0}
    assert spread[0] == 0
    assert len(set(spread)) == 5
    np.testing.assert_array_equal(diverse(5, penalty=0)(model, generator), mean_plus_std(model, generator))


def test_diverse_scores_are_those_of_an_explicit_loop():
    embeddings, model = clusters()
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores, _ = model.predict()
    chosen: list[int] = []
    for _ in range(8):
        penalties = [max([0.0, *(units[i] @ units[j] for j in chosen)]) for i in range(100)]
        values = scores - scores.std() * np.array(penalties)
        values[chosen] = -np.inf
        chosen.append(int(values.argmax()))
    found = diverse(8, again=True)(model, np.random.default_rng(0))
    assert found.argsort()[::-1][:8].tolist() == chosen
    assert len(diverse(1000)(model, np.random.default_rng(0))) == 100


def test_observed_concepts_take_no_place_of_a_diverse_batch():
    _, model = clusters()
    generator = np.random.default_rng(0)
    scores = mean_plus_std(model, generator)
    first, second = scores.argsort()[::-1][:2]
    model.observe([first], [1.0])
    assert diverse(1, penalty=3.0)(model, generator)[second] == scores[second]
    assert diverse(1, penalty=3.0, again=True)(model, generator)[second] < scores[second]


def test_observed_concepts_keep_their_own_mean_reward():
    _, model = clusters()
    scores = mean_plus_std(model, np.random.default_rng(0))
    np.testing.assert_array_equal(keep_observed()(model, np.random.default_rng(0)), scores)
    model.observe([2, 0, 2], [1.0, 5.0, 2.0])
    found = keep_observed(upper_bound(0))(model, np.random.default_rng(0))
    assert found[[0, 2]].tolist() == [5.0, 1.5]
    np.testing.assert_array_equal(np.delete(found, [0, 2]), np.delete(scores, [0, 2]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: upper_bound(-1), "beta must be"),
        (lambda: upper_bound(float("nan")), "beta must be"),
        (lambda: diverse(0), "count must be at least 1"),
        (lambda: diverse(3, penalty=-1.0), "penalty must be"),
    ],
)
def test_options_out_of_range_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
