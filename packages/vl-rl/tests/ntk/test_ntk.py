"""Kernels against closed forms, wide networks and plain loops."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from vl_rl.fourier import FourierFeatures
from vl_rl.ntk import (
    draw_spectra,
    empirical_ntk,
    fourier_kernel,
    fourier_ntk,
    frequency_spectrum,
    residual_decay,
)


def inputs(count, size, seed=0):
    return torch.rand(count, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0, [0.02, 0.3, 0.1]])
def test_mean_product_of_features_is_the_gaussian_kernel(sigma):
    x = inputs(8, 3)
    found = []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        features = FourierFeatures(3, 40_000, sigma=sigma, concatenate=False, generator=generator)(x)
        found.append(features @ features.T / 20_000)
    torch.testing.assert_close(torch.stack(found).mean(0), fourier_kernel(x, x, sigma=sigma), atol=1e-2, rtol=0)
    scaled = x * torch.as_tensor(sigma)
    distances = torch.tensor([[(a - b).square().sum() for a in scaled] for b in scaled])
    torch.testing.assert_close(fourier_kernel(x, x, sigma=sigma), torch.exp(-2 * math.pi**2 * distances))


def test_empirical_kernel_is_the_sum_of_products_of_gradients():
    torch.manual_seed(0)
    module = nn.Sequential(FourierFeatures(2, 6, sigma=0.3), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 2))
    module[3].bias.requires_grad_(False)
    x, y = inputs(3, 2), inputs(4, 2, seed=1)
    trained = [value for value in module.parameters() if value.requires_grad]

    def gradient(row, output):
        return torch.cat([g.flatten() for g in torch.autograd.grad(module(row[None])[0, output], trained)])

    expected = torch.stack(
        [torch.stack([sum(gradient(a, o) @ gradient(b, o) for o in (0, 1)) / 2 for b in y]) for a in x]
    )
    for chunk_size in (1, 2, 64):
        torch.testing.assert_close(empirical_ntk(module, x, y, chunk_size=chunk_size), expected)


def test_relative_size_of_the_fifth_eigenvalue_rises_with_sigma():
    x = torch.linspace(-1, 1, 64)[:, None]
    ratios = []
    for sigma in (0.001, 0.01, 0.1, 1.0):
        torch.manual_seed(0)
        features = FourierFeatures(1, 128, sigma=sigma)
        layers = [nn.Linear(features.out_features, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)]
        values = torch.linalg.eigvalsh(empirical_ntk(nn.Sequential(features, *layers), x).double())
        ratios.append(float(values[-5] / values[-1]))
    assert ratios == sorted(ratios)
    assert ratios[-1] > 10 * ratios[0]


class Scaled(nn.Module):
    """The network whose limit `fourier_ntk` is: standard normal weights, layers scaled by sqrt(2 / width)."""

    def __init__(self, width, depth, sigma, trainable):
        super().__init__()
        self.features = FourierFeatures(2, width, sigma=sigma, concatenate=False, trainable=trainable)
        sizes = [width] * (depth + 1) + [1]
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(b, a)) for a, b in pairwise(sizes))

    def forward(self, x):
        x = self.features(x) * math.sqrt(2 / self.features.fourier_dim)
        for index, weight in enumerate(self.weights):
            x = x @ weight.T
            if index < len(self.weights) - 1:
                x = torch.relu(x) * math.sqrt(2 / x.shape[1])
        return x


@pytest.mark.parametrize(("depth", "trainable"), [(1, True), (1, False), (2, True)])
def test_analytic_kernel_is_the_limit_of_wide_networks(depth, trainable):
    x = 0.3 * inputs(4, 2)
    kernels = []
    for seed in range(8):
        torch.manual_seed(seed)
        kernels.append(empirical_ntk(Scaled(512, depth, 0.7, trainable), x, chunk_size=1))
    found, expected = torch.stack(kernels), fourier_ntk(x, sigma=0.7, depth=depth, trainable=trainable)
    # Of the mean, from the spread over seeds; the limit has an error of the order 1 / width beside it.
    error = found.std(0) / len(kernels) ** 0.5
    assert ((found.mean(0) - expected).abs() < 4 * error + 0.02).all()
    assert (error < 0.1 * expected.abs().max()).all()


def test_analytic_kernel_keeps_near_points_apart_in_float32():
    x = torch.linspace(-1, 1, 64)[:, None]
    found, double = (fourier_ntk(part, sigma=0.001).double() for part in (x, x.double()))
    torch.testing.assert_close(found, double, rtol=1e-6, atol=0)
    values, expected = torch.linalg.eigvalsh(found), torch.linalg.eigvalsh(double)
    torch.testing.assert_close(values[-5] / values[-1], expected[-5] / expected[-1], rtol=1e-3, atol=0)
    assert values[0] > 0
    # Of 64 points by the formulas in 60 digits (mpmath 1.3); arccos of the covariance misses it by 1e-8 in float64.
    assert float(expected[-5] / expected[-1]) == pytest.approx(0.0001270448887583, rel=1e-9)


class Largest(TorchDispatchMode):
    """Size of the largest tensor that an operation made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.size = max([self.size, *(part.numel() for part in tree_leaves(made) if isinstance(part, torch.Tensor))])
        return made


def test_empirical_kernel_holds_the_gradients_of_a_chunk_and_not_of_all():
    x = inputs(7, 50)
    with Largest() as largest:
        found = empirical_ntk(nn.Linear(50, 1), x, chunk_size=2)
    torch.testing.assert_close(found, x @ x.T + 1)
    assert largest.size == 2 * 51


def test_spectrum_of_a_circulant_kernel_has_its_frequencies():
    angles = 2 * math.pi * torch.arange(16) / 16
    differences = angles[:, None] - angles
    found = frequency_spectrum(1 + 0.5 * torch.cos(3 * differences))
    expected = torch.zeros(9, dtype=torch.float64)
    expected[0], expected[3] = 0.8, 0.2
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_residuals_decay_as_in_gradient_descent():
    torch.manual_seed(0)
    features = torch.randn(6, 6, dtype=torch.float64)
    kernel, target = features @ features.T, torch.randn(6, dtype=torch.float64)
    weights = torch.zeros(6, dtype=torch.float64)
    for _ in range(50):
        weights = weights - 0.02 * 2 / 6 * features.T @ (features @ weights - target)
    values, vectors = torch.linalg.eigh(kernel)
    left = vectors.T @ (target - features @ weights) / (vectors.T @ target)
    torch.testing.assert_close(residual_decay(kernel, learning_rate=0.02, steps=50), left.flip(0))
    assert values[-1] > values[0]


def test_spectra_are_drawn(tmp_path):
    x = inputs(12, 1)
    draw_spectra({f"sigma {sigma}": fourier_ntk(x, sigma=sigma) for sigma in (0.1, 1.0)}, tmp_path / "spectra.png")
    assert (tmp_path / "spectra.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: empirical_ntk(nn.ReLU(), torch.zeros(1, 1)), "module must have a parameter"),
        (lambda: empirical_ntk(nn.Linear(1, 1), torch.zeros(0, 1)), "x must have at least one input"),
        (lambda: fourier_ntk(torch.zeros(1, 1), sigma=1.0, depth=0), "depth must be at least 1, got 0"),
        (lambda: fourier_ntk(torch.zeros(1, 1), sigma=-1.0), "sigma must be above 0"),
        (lambda: frequency_spectrum(torch.zeros(2, 3)), r"kernel must have shape \(N, N\), got \(2, 3\)"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
