"""The layer against its formula; settings that are refused."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn
from vl_rl.fourier import FourierCnnExtractor, FourierFeatures
from vl_rl.fourier.features import AUTO_SIGMA


def test_features_are_sines_and_cosines_of_cycles():
    features = FourierFeatures(3, 8, sigma=0.5)
    x = torch.randn(2, 5, 3)
    cycles = torch.einsum("abi,ij->abj", x, features.B)
    expected = torch.cat([x, torch.sin(2 * math.pi * cycles), torch.cos(2 * math.pi * cycles)], -1)
    torch.testing.assert_close(features(x), expected)
    assert features(x).shape[-1] == features.out_features == 11
    features.concatenate = False
    torch.testing.assert_close(features(x), expected[..., 3:])


def test_images_are_projected_at_each_pixel():
    features = FourierFeatures(3, 8, sigma=0.5, dim=1)
    images = torch.rand(2, 3, 4, 5)
    by_pixel = FourierFeatures(3, 8)
    by_pixel.load_state_dict(features.state_dict())
    torch.testing.assert_close(features(images), by_pixel(images.movedim(1, -1)).movedim(-1, 1))


@pytest.mark.parametrize(("sigma", "deviations"), [(0.2, [0.2, 0.2]), ([0.1, 3.0], [0.1, 3.0]), ("auto", [0.03, 0.03])])
def test_frequencies_have_the_standard_deviation_of_each_input(sigma, deviations):
    features = FourierFeatures(2, 20_000, sigma=sigma, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(features.B.std(dim=1), torch.tensor(deviations), rtol=0.05, atol=0)
    assert AUTO_SIGMA == 0.03


def test_scale_makes_features_independent_of_units():
    features = FourierFeatures(2, 6, sigma="auto", concatenate=False)
    x, units = torch.randn(50, 2), torch.tensor([10.0, 0.1])
    features.set_scale(x)
    expected = features(x)
    features.set_scale(x * units)
    torch.testing.assert_close(features(x * units), expected)
    features.set_scale(torch.ones(3, 2))
    assert features.scale.tolist() == [1.0, 1.0]


def test_numbers_of_numpy_are_taken():
    features = FourierFeatures(2, np.int64(6), sigma=np.float32(0.1))
    assert features(torch.zeros(1, 2)).shape == (1, 8)


def test_initialization_of_layers_by_type_leaves_frequencies_alone():
    module = nn.Sequential(FourierFeatures(3, 8), FourierFeatures(11, 4, dim=1), nn.Linear(8, 8))
    before = [part.B.clone() for part in module[:2]]
    module.apply(lambda part: ActorCriticPolicy.init_weights(part, gain=2.0))
    assert all(torch.equal(part.B, old) for part, old in zip(module[:2], before, strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FourierFeatures(2, 7), "fourier_dim must be an even whole number of at least 2, got 7"),
        (lambda: FourierFeatures(2, 0), "fourier_dim must be an even whole number of at least 2, got 0"),
        (lambda: FourierFeatures(0, 2), "in_features must be at least 1, got 0"),
        (lambda: FourierFeatures(2, 2, sigma=0.0), r"sigma must be above 0, got 0\.0"),
        (lambda: FourierFeatures(2, 2, sigma=float("nan")), "sigma must be above 0, got nan"),
        (lambda: FourierFeatures(2, 2, sigma=[1.0, -1.0]), "sigma must be above 0"),
        (lambda: FourierFeatures(2, 2, sigma=[1.0] * 3), "one for each of the 2 inputs of the network, got 3"),
        (lambda: FourierFeatures(2, 2, sigma="wide"), "sigma must be a number, .* or 'auto', got 'wide'"),
        (lambda: FourierFeatures(2, 2, sigma=True), "sigma must be a number, .* got True"),
        (lambda: FourierFeatures(2, 2, sigma=None), "sigma must be a number, .* got None"),
        (lambda: FourierFeatures(2, True), "fourier_dim must be an even whole number .* got True"),
        (lambda: FourierFeatures(2, 2.0), "fourier_dim must be an even whole number .* got 2.0"),
        (lambda: FourierFeatures(2, 2).set_scale(torch.zeros(1, 2)), r"inputs must have shape .* got \(1, 2\)"),
        (lambda: FourierCnnExtractor(spaces.Box(-1, 1, (3,))), ".* must be images .* use FourierMlpPolicy"),
        (lambda: FourierCnnExtractor(spaces.Dict(a=spaces.Box(-1, 1))), ".* Dict of a; use FourierMultiInputPolicy"),
        (lambda: FourierCnnExtractor(spaces.Box(0, 1, (3, 40, 40))), ".* float32; pass normalize_images=False"),
    ],
)  # fmt: skip
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
