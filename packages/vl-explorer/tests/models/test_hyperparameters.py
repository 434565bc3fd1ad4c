"""Learned hyper-parameters follow the gradient, and win on held-out rewards where the fixed ones are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from explorer_dense import unit_rows
from vl_explorer.models.hyperparameters import (
    Hyperparameters,
    compare_hyperparameters,
    fit_hyperparameters,
    log_marginal_likelihood,
)

EMBEDDINGS = unit_rows(300, 4)
SQUARES = ((EMBEDDINGS[:, None] - EMBEDDINGS) ** 2).sum(-1)
INDICES = np.r_[np.arange(200), np.arange(50)]


def function_of(length_scale, noise, seed=0):
    """Rewards of INDICES drawn from a process."""
    generator = np.random.default_rng(seed)
    kernel = np.exp(-SQUARES / 2 / length_scale**2) + 1e-9 * np.eye(300)
    function = np.linalg.cholesky(kernel) @ generator.standard_normal(300)
    return function[INDICES] + noise**0.5 * generator.standard_normal(250)


def test_likelihood_is_that_of_the_normal_density_and_has_its_gradient():
    stats = pytest.importorskip("scipy.stats")
    distances, rewards, counts = SQUARES[:30, :30], np.random.default_rng(0).standard_normal(30), 1 + np.arange(30) % 3
    logs = np.log([0.7, 1.3, 0.2])

    def likelihood(at):
        return log_marginal_likelihood(distances, rewards, counts, Hyperparameters(*np.exp(at)))

    value, gradient = likelihood(logs)
    covariance = 1.3 * np.exp(-distances / 2 / 0.7**2) + np.diag(0.2 / counts)
    assert value == pytest.approx(stats.multivariate_normal(np.zeros(30), covariance).logpdf(rewards), abs=1e-9)
    for place, step in enumerate(1e-5 * np.eye(3)):
        slope = (likelihood(logs + step)[0] - likelihood(logs - step)[0]) / 2e-5
        assert gradient[place] == pytest.approx(slope, rel=1e-6)


def test_the_process_that_made_the_rewards_is_found():
    rewards = function_of(0.4, 0.05)
    found = fit_hyperparameters(EMBEDDINGS, INDICES, rewards)
    assert 0.3 < found.length_scale < 0.55
    assert 0.5 < found.noise * rewards.var() / 0.05 < 2
    part = fit_hyperparameters(EMBEDDINGS, INDICES, rewards, limit=150)
    assert part == fit_hyperparameters(EMBEDDINGS, INDICES, rewards, limit=150) != found


def test_comparison_prefers_learned_values_where_the_fixed_are_wrong():
    rough = compare_hyperparameters(EMBEDDINGS, INDICES, function_of(0.4, 0.01), fixed=Hyperparameters(3.0))
    assert rough.learned_density > rough.fixed_density + 0.2
    assert rough.better is rough.learned
    truth = Hyperparameters(0.4, 1.0, 0.01)
    fine = compare_hyperparameters(EMBEDDINGS, INDICES, function_of(0.4, 0.01), fixed=truth)
    assert fine.fixed_density == pytest.approx(fine.learned_density, abs=0.1)
    assert 50 <= fine.held_out <= 100


def test_density_is_that_of_the_rewards_in_their_own_unit():
    rewards = function_of(0.4, 0.05)
    plain = compare_hyperparameters(EMBEDDINGS, INDICES, rewards)
    scaled = compare_hyperparameters(EMBEDDINGS, INDICES, 10 * rewards + 3)
    assert scaled.fixed_density == pytest.approx(plain.fixed_density - np.log(10), abs=1e-8)
