"""Noise, velocity, flow and clean image are read out of one another, in both directions and for both kinds of path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from vl_diffusion import NoiseSchedule
from vl_diffusion.models._latents import encode
from vl_diffusion.models.loading import as_denoiser

SPACES = ("epsilon", "v_prediction", "flow_prediction", "sample")
PATHS = {
    "preserving": NoiseSchedule.from_config({"beta_schedule": "linear"}),
    "flow": NoiseSchedule.from_config({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}),
}
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


def draws(schedule):
    """Clean images, noise, the two mixed, and their levels."""
    x0, noise = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    alpha, sigma = (level.view(-1, 1, 1, 1) for level in schedule.levels(np.array([100, 500, 900])))
    return x0, noise, alpha * x0 + sigma * noise, alpha, sigma


def truths(x0, noise, alpha, sigma):
    return {
        "epsilon": noise,
        "v_prediction": alpha * noise - sigma * x0,
        "flow_prediction": noise - x0,
        "sample": x0,
    }


@every_path
@pytest.mark.parametrize("said", SPACES)
def test_an_exact_prediction_converts_to_exact_estimates(said, path):
    schedule = replace(path, prediction=said)
    x0, noise, x_t, alpha, sigma = draws(schedule)
    truth = truths(x0, noise, alpha, sigma)
    for name, estimate in schedule.estimates(truth[said], x_t, alpha, sigma).items():
        torch.testing.assert_close(estimate, truth[name], rtol=1e-4, atol=1e-5)


@every_path
@pytest.mark.parametrize("said", SPACES)
@pytest.mark.parametrize("read", SPACES)
def test_what_is_read_out_says_what_was_said(said, read, path):
    there, back = replace(path, prediction=said), replace(path, prediction=read)
    _, _, x_t, alpha, sigma = draws(path)
    guess = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(1))
    estimate = there.estimates(guess, x_t, alpha, sigma)[read]
    torch.testing.assert_close(back.estimates(estimate, x_t, alpha, sigma)[said], guess, rtol=1e-4, atol=1e-4)


@every_path
@pytest.mark.parametrize("said", SPACES)
@pytest.mark.parametrize("space", SPACES)
def test_error_scales_convert_between_spaces(said, space, path):
    schedule = replace(path, prediction=said)
    x0, noise, x_t, alpha, sigma = draws(schedule)
    truth = truths(x0, noise, alpha, sigma)
    guess = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(1))
    error = (guess - truth[said]) * schedule.error_scale(space, alpha, sigma)
    other = schedule.estimates(guess, x_t, alpha, sigma)[space] - truth[space]
    torch.testing.assert_close(error.abs(), other.abs(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        ("stable_diffusion", "epsilon"),
        ("stable_diffusion_xl", "epsilon"),
        ("stable_diffusion_3", "flow_prediction"),
        ("flux", "flow_prediction"),
        ("pixart", "epsilon"),
        ("dit_pipeline", "epsilon"),
    ],
)
def test_estimates_reconstruct_the_noisy_image(build, said, tiny):
    denoiser = as_denoiser(getattr(tiny, build)())
    schedule = denoiser.schedule
    assert schedule.prediction == said
    steps = np.array([50, 500, 950])
    image = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    classes = ["cat", "dog", "bird"] if getattr(denoiser, "takes_prompts", False) else [str(i) for i in range(10)]
    with torch.no_grad():
        x0 = denoiser.encode_images(image)
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
        alpha, sigma = (level.view(-1, 1, 1, 1) for level in schedule.levels(steps))
        x_t = alpha * x0 + sigma * noise
        condition = denoiser.encode_classes(classes)
        rows = condition[:3] if isinstance(condition, torch.Tensor) else condition
        output = denoiser.predict(x_t, schedule.network_times(steps), rows)[:, : x0.shape[1]]
    found = schedule.estimates(output, x_t, alpha, sigma)
    torch.testing.assert_close(found[said], output, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alpha * found["sample"] + sigma * found["epsilon"], x_t, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["flow_prediction"], found["epsilon"] - found["sample"])
    torch.testing.assert_close(found["v_prediction"], alpha * found["epsilon"] - sigma * found["sample"])


@pytest.mark.parametrize(
    "settings",
    [
        {"scaling_factor": 0.18215},
        {"scaling_factor": 1.5305, "shift_factor": 0.0609},
        {"scaling_factor": 0.5, "latents_mean": [1.0, 2.0, 3.0, 4.0], "latents_std": [0.5, 1.0, 2.0, 4.0]},
    ],
    ids=["scaled", "shifted", "standardized"],
)
def test_latents_are_scaled_as_configured(settings, tiny):
    with tiny.seeded(0):
        vae = tiny.autoencoder(**settings)
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean = vae.encode(image * 2 - 1).latent_dist.mean
        found = encode(image, vae)
    for channel in range(4):
        center = settings.get("latents_mean", [settings.get("shift_factor", 0.0)] * 4)[channel]
        spread = settings.get("latents_std", [1.0] * 4)[channel]
        expected = (mean[:, channel] - center) / spread * settings["scaling_factor"]
        torch.testing.assert_close(found[:, channel], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("force_upcast", [True, False])
def test_an_autoencoder_that_overflows_in_half_precision_is_not_run_in_it(force_upcast, tiny):
    with tiny.seeded(0):
        vae = tiny.autoencoder(force_upcast=force_upcast).half()
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # An activation that float16 cannot hold; a norm later brings it back into range.
        vae.encoder.conv_in.weight.mul_(1e5)
        before = {name: value.clone() for name, value in vae.state_dict().items()}
        found = encode(image, vae)
    assert found.dtype == torch.float32
    assert bool(found.isfinite().all()) == force_upcast
    # It is the caller's, who may sample with it next.
    assert all(value.dtype == torch.float16 and value.equal(before[name]) for name, value in vae.state_dict().items())
