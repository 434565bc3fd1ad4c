"""The density that is known: sums, another library's density, and signs."""

from __future__ import annotations

import math

import pytest
import torch
from vl_density.toy.templates import TemplateDensity


def test_it_is_the_mixture_of_torch_distributions():
    density = TemplateDensity(dimensions=5, templates=3, noise=0.3, seed=2)
    normal = torch.distributions.Independent(torch.distributions.Normal(density.templates.double(), 0.3), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(3)), normal)
    points = density.sample(20, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(density.log_prob(points), mixture.log_prob(points), atol=1e-12)


def test_the_mean_over_samples_is_the_entropy_of_far_templates():
    density = TemplateDensity(dimensions=16, templates=4, noise=0.1)
    points = density.sample(20_000, generator=torch.Generator().manual_seed(0)).double()
    entropy = math.log(4) + 8 * math.log(2 * math.pi * math.e * 0.01)
    assert -density.log_prob(points).mean().item() == pytest.approx(entropy, abs=0.1)


def test_flips_count_signs_against_the_nearest_template():
    density = TemplateDensity(dimensions=12, templates=2, seed=1)
    points = density.templates.clone()
    points[0, :2] *= -0.1
    assert density.flips(points).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dimensions": 1}, "dimensions must be at least 2 and templates at least 1, got 1 and 8"),
        ({"templates": 0}, "got 32 and 0"),
        ({"noise": 0.0}, "noise must be positive and finite, got 0.0"),
        ({"noise": math.nan}, "noise must be positive and finite, got nan"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        TemplateDensity(**settings)
