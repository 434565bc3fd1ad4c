"""The linear model is the dense posterior of its kernel; the greedy one ignores rewards."""

from __future__ import annotations

import numpy as np
from explorer_dense import unit_rows
from vl_explorer.models.linear import LinearModel
from vl_explorer.models.nearest import NearestModel

EMBEDDINGS = unit_rows(50, 4)
INDICES = np.r_[np.arange(20), 3, 3]
REWARDS = np.random.default_rng(2).standard_normal(22)


def test_linear_model_is_the_process_with_the_linear_kernel():
    model = LinearModel(EMBEDDINGS, weight_variance=2.0, noise=0.3, normalize=False)
    model.observe(INDICES[:9], REWARDS[:9])
    model.observe(INDICES[9:], REWARDS[9:])
    kernel = 2.0 * EMBEDDINGS @ EMBEDDINGS.T
    cross = kernel[:, INDICES]
    inverse = np.linalg.inv(cross[INDICES] + 0.3 * np.eye(22))
    mean, std = model.predict()
    np.testing.assert_allclose(mean, cross @ inverse @ REWARDS, atol=1e-10)
    np.testing.assert_allclose(std**2, np.diag(kernel - cross @ inverse @ cross.T), atol=1e-10)


def test_linear_draws_have_the_mean_and_variance_of_the_posterior():
    model = LinearModel(EMBEDDINGS)
    model.observe(INDICES, REWARDS)
    mean, std = model.predict()
    generator = np.random.default_rng(0)
    draws = np.stack([model.sample(generator) for _ in range(4000)])
    np.testing.assert_allclose(draws.mean(0), mean, atol=5 * std.max() / 4000**0.5)
    np.testing.assert_allclose(draws.std(0), std, rtol=0.08)


def test_linear_state_and_replaced_rewards_equal_a_new_fit():
    model, other = LinearModel(EMBEDDINGS), LinearModel(EMBEDDINGS)
    model.observe(INDICES, REWARDS)
    model.replace(REWARDS**2)
    other.load_state_dict(model.state_dict())
    third = LinearModel(EMBEDDINGS)
    third.observe(INDICES, REWARDS**2)
    for found in (other, third):
        np.testing.assert_array_equal(found.predict(), model.predict())


def test_nearest_model_ranks_by_the_nearest_name_whatever_the_rewards():
    names = np.stack([3 * EMBEDDINGS[7], EMBEDDINGS[9]])
    model = NearestModel(np.vstack([5 * EMBEDDINGS, np.zeros(4)]), names)
    before, std = model.predict()
    assert set(before.argsort()[-2:]) == {7, 9}
    np.testing.assert_allclose(before[[7, 9, 50]], [1, 1, 0], atol=1e-12)
    model.observe(INDICES, REWARDS)
    model.replace(-REWARDS)
    np.testing.assert_array_equal(model.predict()[0], before)
    np.testing.assert_array_equal(model.sample(np.random.default_rng(0)), before)
    assert not std.any()
    other = NearestModel(model.embeddings, names)
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other.observations.rewards, -REWARDS)
