"""The variational term against its definition: a divergence between two normal distributions, value by value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from vl_core.noise import gaussian, make_keys
from vl_diffusion import DiffusionClassifier, Exhaustive
from vl_diffusion.models.images import content_id
from vl_diffusion.scoring.losses import variational_map

LABELS = [str(label) for label in range(10)]
PETS = ["cat", "dog", "bird"]


def betas() -> torch.Tensor:
    """Of DDIM's default schedule."""
    return torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)


def divergence(output: torch.Tensor, x_t: torch.Tensor, x0: torch.Tensor, step: int) -> float:
    """KL of the true reverse step from the model's, whose output is the noise followed by the variance's position.

    Means and variances as in Ho et al. (2020), equations 6, 7 and 11; variance as in Nichol & Dhariwal (2021),
    equation 15. At step 0 the posterior's variance is that of step 1.
    """
    output, x_t, x0 = output.double(), x_t.double(), x0.double()
    beta = betas()
    alpha_bar = torch.cumprod(1 - beta, 0)
    before = torch.cat([torch.ones(1), alpha_bar[:-1]])
    variance = beta * (1 - before) / (1 - alpha_bar)
    variance[0] = variance[1]
    noise, place = output.chunk(2, 1)
    true_mean = (before[step].sqrt() * beta[step] * x0 + (1 - beta[step]).sqrt() * (1 - before[step]) * x_t) / (
        1 - alpha_bar[step]
    )
    mean = (x_t - beta[step] / (1 - alpha_bar[step]).sqrt() * noise) / (1 - beta[step]).sqrt()
    upper = (place + 1) / 2
    log_variance = upper * beta[step].log() + (1 - upper) * variance[step].log()
    true = Normal(true_mean, variance[step].sqrt().expand_as(true_mean))
    return float(kl_divergence(true, Normal(mean, (log_variance / 2).exp())).mean())


@torch.no_grad()
@pytest.mark.parametrize(("build", "network"), [("dit_pipeline", "dit"), ("pixart", "pixart")])
def test_the_bound_is_the_divergence_of_two_normals(build, network, tiny, plain):
    pipeline = getattr(tiny, build)()
    prompts, classes = (LABELS, LABELS) if build == "dit_pipeline" else ([f"a {pet}" for pet in PETS], PETS)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    result = DiffusionClassifier(
        pipeline, classes, search=Exhaustive(4), objective="vlb", prompt_template="a {}"
    ).classify(image)
    x0 = plain.latent(pipeline, image)
    alpha_bar = torch.cumprod(1 - betas(), 0)
    expected = np.zeros((len(prompts), 4))
    for k, prompt in enumerate(prompts):
        for draw, step in enumerate((125, 375, 625, 875)):
            noise = gaussian(make_keys(0, torch.tensor([content_id(image[0])]), torch.tensor([draw])), x0.shape[1:])
            x_t = (alpha_bar[step].sqrt() * x0 + (1 - alpha_bar[step]).sqrt() * noise).float()
            output = getattr(plain, network)(pipeline, x_t, step, 0.0, prompt)
            expected[k, draw] = divergence(output, x_t, x0, step)
    np.testing.assert_allclose(result.errors[0], expected.mean(1), rtol=1e-4)


@pytest.mark.parametrize("step", [0, 1, 2, 10, 500, 998, 999])
def test_the_term_is_the_divergence_at_every_step(step, tiny):
    schedule = DiffusionClassifier(tiny.dit_pipeline(), LABELS, objective="vlb").denoiser.schedule
    x0, noise, guess, place = torch.randn(4, 2, 3, 4, 4, generator=torch.Generator().manual_seed(step))
    alpha_bar = torch.cumprod(1 - betas(), 0)[step]
    x_t = (alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise).float()
    output = torch.cat([noise + 0.1 * guess, place.tanh()], 1)
    found = variational_map(output, x_t, x0, np.array([step, step]), schedule).flatten(1).mean(1)
    for row in range(2):
        rows = slice(row, row + 1)
        assert float(found[row]) == pytest.approx(divergence(output[rows], x_t[rows], x0[rows], step), rel=1e-3)


def test_a_model_without_a_variance_has_no_bound(tiny):
    for build in ("stable_diffusion", "stable_diffusion_3"):
        with pytest.raises(ValueError, match=r"objective='vlb' needs a model that learns a variance"):
            DiffusionClassifier(getattr(tiny, build)(), PETS, objective="vlb")
