"""The autoregressive mixture: it integrates to one, looks at values before alone, and finds a known density."""

from __future__ import annotations

import pytest
import torch
from vl_density.toy.mixture import AutoregressiveMixture, fit_mixture
from vl_density.toy.templates import TemplateDensity


def new_model(dimensions, **options):
    torch.manual_seed(0)
    return AutoregressiveMixture(dimensions=dimensions, width=8, **options)


def test_it_integrates_to_one():
    model = new_model(2, components=3).double()
    axis = torch.linspace(-8, 8, 801, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    assert (model.log_prob(points).exp().sum() * 0.02**2).item() == pytest.approx(1, abs=1e-6)


def test_a_factor_depends_on_values_before_alone():
    model = new_model(4)
    points = torch.randn(1, 4, requires_grad=True)
    for place, part in enumerate(model._mixtures(points)[1].sum((1, 2))):
        (gradient,) = torch.autograd.grad(part, points, retain_graph=True)
        assert (gradient[0, :place] != 0).all()
        assert (gradient[0, place:] == 0).all()


def test_samples_have_the_moments_of_the_density():
    model = new_model(2).double()
    axis = torch.linspace(-8, 8, 801, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    share = model.log_prob(points).exp() * 0.02**2
    drawn = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(drawn.mean(0), share @ points, atol=0.03)
    product = (drawn[:, 0] * drawn[:, 1]).mean()
    assert product.item() == pytest.approx((share @ points.prod(1)).item(), abs=0.03)


def test_a_fit_comes_near_the_entropy():
    truth = TemplateDensity(dimensions=4, templates=2, noise=0.3)
    generator = torch.Generator().manual_seed(0)
    model = new_model(4)
    fit_mixture(model, truth.sample(20_000, generator=generator), updates=200, generator=generator, progress=False)
    held_out = truth.sample(4000, generator=generator)
    with torch.no_grad():
        excess = (truth.log_prob(held_out) - model.log_prob(held_out)).mean().item()
    assert -0.01 < excess < 0.05


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(4, 3), r"points must be finite, of shape \(N, 2\) as the model, N at least 1, got \(4, 3\)"),
        (torch.zeros(0, 2), r"got \(0, 2\)"),
        (torch.full((4, 2), torch.nan), "points must be finite"),
    ],
)
def test_wrong_points_are_named(points, message):
    with pytest.raises(ValueError, match=message):
        fit_mixture(new_model(2), points, progress=False)


@pytest.mark.parametrize("settings", [{"dimensions": 1}, {"dimensions": 2, "components": 0}])
def test_wrong_settings_are_named(settings):
    with pytest.raises(ValueError, match="must be at least"):
        AutoregressiveMixture(**settings)
