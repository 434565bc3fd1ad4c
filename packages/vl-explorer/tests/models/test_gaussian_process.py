"""The incremental process is the exact one, whatever the blocks, repetitions and order of calls."""

from __future__ import annotations

import numpy as np
import pytest
from explorer_dense import dense_posterior, unit_rows
from vl_explorer.models.gaussian_process import GaussianProcess

EMBEDDINGS = unit_rows(120, 6)
RNG = np.random.default_rng(1)
INDICES = np.r_[RNG.permutation(120)[:40], RNG.integers(0, 120, 20)]  # some of them repeated
REWARDS = np.sin(3 * EMBEDDINGS[INDICES, 0]) + 0.1 * RNG.standard_normal(60)


def observed(blocks=1, indices=INDICES, rewards=REWARDS, **options):
    """A process that has seen the observations in blocks, with a prediction after each."""
    model = GaussianProcess(EMBEDDINGS, **options)
    for places, values in zip(np.array_split(indices, blocks), np.array_split(rewards, blocks), strict=True):
        model.observe(places, values)
        model.predict()
    return model


@pytest.mark.parametrize("blocks", [1, 2, 7, 60])
@pytest.mark.parametrize(
    "options",
    [{}, {"length_scale": 0.5, "signal_variance": 2.5, "noise": 1e-3}, {"noise": 1e-6}, {"length_scale": 3.0}],
)
def test_any_split_into_blocks_gives_the_dense_posterior(blocks, options):
    mean, std = observed(blocks, normalize=False, **options).predict()
    expected, variance = dense_posterior(EMBEDDINGS, INDICES, REWARDS, **options)
    np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(std**2, variance, rtol=0, atol=1e-8)


def test_small_row_blocks_tiles_and_batches_change_nothing(monkeypatch):
    expected = observed().predict()
    monkeypatch.setattr("vl_explorer.models.gaussian_process._TILE", 1)
    monkeypatch.setattr("vl_explorer.models.gaussian_process._BATCH", 9)
    monkeypatch.setattr("vl_explorer.models.block_factor.BlockFactor.__init__.__defaults__", (7,))
    np.testing.assert_allclose(observed(3).predict(), expected, rtol=0, atol=1e-10)


def test_process_equals_gpytorch():
    gpytorch = pytest.importorskip("gpytorch", reason="gpytorch is an oracle where it is installed")
    torch = pytest.importorskip("torch")

    class Exact(gpytorch.models.ExactGP):
        def __init__(self, x, y, likelihood):
            super().__init__(x, y, likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    x = torch.from_numpy(EMBEDDINGS)
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    exact = Exact(x[INDICES], torch.from_numpy(REWARDS), likelihood).double()
    exact.covar_module.outputscale, exact.covar_module.base_kernel.lengthscale, likelihood.noise = 1.5, 0.8, 0.05
    # As gpytorch keeps them, which rounds what it is given to float32.
    options = {
        "signal_variance": exact.covar_module.outputscale.item(),
        "length_scale": exact.covar_module.base_kernel.lengthscale.item(),
        "noise": likelihood.noise.item(),
    }
    exact.eval()
    with torch.no_grad():
        posterior = exact(x)
    mean, std = observed(5, normalize=False, **options).predict()
    np.testing.assert_allclose(mean, posterior.mean.numpy(), rtol=0, atol=1e-8)
    np.testing.assert_allclose(std**2, posterior.variance.numpy(), rtol=0, atol=1e-8)


def test_normalized_rewards_give_the_posterior_in_their_own_unit():
    rewards = 50 + 0.01 * REWARDS
    mean, std = observed(4, rewards=rewards).predict()
    center, scale = rewards.mean(), rewards.std()
    expected, variance = dense_posterior(EMBEDDINGS, INDICES, (rewards - center) / scale)
    np.testing.assert_allclose(mean, center + scale * expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(std, scale * np.sqrt(variance), rtol=0, atol=1e-8)


def test_replaced_rewards_equal_a_new_fit():
    model, rewards = observed(3), REWARDS[::-1] ** 2
    model.replace(rewards)
    np.testing.assert_allclose(model.predict(), observed(1, rewards=rewards).predict(), rtol=0, atol=1e-10)
    model.observe([3], [1.0])
    model.replace(np.arange(61.0))
    again = observed(1, np.r_[INDICES, 3], np.arange(61.0))
    np.testing.assert_allclose(model.predict(), again.predict(), rtol=0, atol=1e-8)


def test_no_observation_one_and_equal_ones_are_well_defined():
    mean, std = GaussianProcess(EMBEDDINGS, signal_variance=4.0).predict()
    assert (mean == 0).all()
    np.testing.assert_allclose(std, 2)
    for indices in ([5], [5, 5, 9]):
        mean, std = observed(1, np.array(indices), np.full(len(indices), 0.3)).predict()
        np.testing.assert_allclose(mean, 0.3)
        assert std.argmin() == 5
        assert 0 < std.min() < std.max() < 1


def test_embeddings_of_any_dtype_and_far_from_the_origin_lose_nothing():
    single = EMBEDDINGS.astype(np.float32)
    model = GaussianProcess(single, normalize=False)
    model.observe(INDICES, REWARDS)
    expected, _ = dense_posterior(single.astype(np.float64), INDICES, REWARDS)
    np.testing.assert_allclose(model.predict()[0], expected, rtol=0, atol=1e-8)
    far = GaussianProcess(EMBEDDINGS + 1e4, normalize=False)
    far.observe(INDICES, REWARDS)
    np.testing.assert_allclose(far.predict()[0], observed(normalize=False).predict()[0], rtol=0, atol=1e-8)


def test_draws_have_the_mean_and_variance_of_the_posterior():
    model = observed(2, noise=0.05)
    mean, std = model.predict()
    generator = np.random.default_rng(0)
    draws = np.stack([model.sample(generator, features=64) for _ in range(1500)])
    np.testing.assert_allclose(draws.mean(0), mean, atol=5 * std.max() / 1500**0.5)
    np.testing.assert_allclose(draws.std(0), std, rtol=0.12)
    joint = np.corrcoef(draws[:, 0], draws[:, np.argsort(EMBEDDINGS @ EMBEDDINGS[0])[-2]])[0, 1]
    assert joint > 0.2  # neighbors rise and fall together


def test_a_loaded_process_goes_on_bit_by_bit():
    model = observed(4)
    model.observe([7, 8], [0.5, 0.25])
    other = GaussianProcess(EMBEDDINGS)
    other.load_state_dict(model.state_dict())
    for process in (model, other):
        process.predict()
        process.observe([1, 7], [0.1, 0.2])
    for first, second in zip(model.predict(), other.predict(), strict=True):
        assert (first == second).all()
    third = GaussianProcess(EMBEDDINGS)
    third.load_state_dict(model.state_dict())
    assert (third.predict()[0] == model.predict()[0]).all()
