"""Noise levels and conversions against diffusers' own schedulers and against their definitions."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from vl_diffusion import NoiseSchedule

CONFIGS = [
    {"beta_schedule": "linear"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"beta_schedule": "sigmoid"},
    {"beta_schedule": "linear", "num_train_timesteps": 50},
    {"trained_betas": [0.1, 0.2, 0.3], "num_train_timesteps": 3},
    {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True},
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: "-".join(map(str, c.values())))
def test_levels_are_those_of_the_ddpm_scheduler(config):
    scheduler = diffusers.DDPMScheduler(**config)
    schedule = NoiseSchedule.from_config(scheduler.config)
    assert len(schedule) == scheduler.config.num_train_timesteps
    np.testing.assert_allclose(schedule.alphas_cumprod, scheduler.alphas_cumprod.numpy(), rtol=1e-4, atol=1e-7)


def test_levels_do_not_depend_on_which_scheduler_is_attached():
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    schedules = [
        NoiseSchedule.from_config(kind(**config).config)
        for kind in (
            diffusers.DDIMScheduler,
            diffusers.PNDMScheduler,
            diffusers.EulerDiscreteScheduler,
            diffusers.DPMSolverMultistepScheduler,
        )
    ]
    for schedule in schedules[1:]:
        np.testing.assert_array_equal(schedule.alphas_cumprod, schedules[0].alphas_cumprod)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_every_prediction_type_gives_back_the_noise(prediction):
    generator = torch.Generator().manual_seed(0)
    schedule = NoiseSchedule.from_config({"beta_schedule": "linear", "prediction_type": prediction})
    signal, level = (t.view(-1, 1, 1, 1) for t in schedule.levels(np.array([100, 500, 900])))
    x0, noise = (torch.randn(3, 2, 4, 4, generator=generator) for _ in range(2))
    x_t = signal * x0 + level * noise
    said = {"epsilon": noise, "v_prediction": signal * noise - level * x0, "sample": x0}[prediction]
    torch.testing.assert_close(schedule.epsilon(said, x_t, signal, level), noise, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_error_of_the_output_times_its_scale_is_the_error_of_the_noise(prediction):
    schedule = NoiseSchedule.from_config({"beta_schedule": "linear", "prediction_type": prediction})
    signal, level = (t.view(-1, 1, 1, 1) for t in schedule.levels(np.array([100, 300, 900])))
    x0, noise, guess = torch.randn(3, 3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    x_t = signal * x0 + level * noise
    right = {"epsilon": noise, "v_prediction": signal * noise - level * x0, "sample": x0}[prediction]
    error = (guess - right).square().flatten(1).mean(1) * schedule.epsilon_scale(signal, level).flatten().square()
    of_noise = (schedule.epsilon(guess, x_t, signal, level) - noise).square().flatten(1).mean(1)
    torch.testing.assert_close(error, of_noise, rtol=1e-5, atol=0)


def test_draws_are_at_the_steps_of_the_paper():
    schedule = NoiseSchedule.from_config({"beta_schedule": "linear"})
    assert schedule.steps(500).tolist() == list(range(1, 1000, 2))
    assert schedule.steps(250).tolist() == list(range(2, 1000, 4))
    assert schedule.steps(1000).tolist() == list(range(1000))
    assert schedule.steps(1).tolist() == [500]


def test_half_precision_tables_are_not_read():
    # A float16 table is off by 7 % at the first step (sqrt(1 - alpha) of a float16 alpha).
    schedule = NoiseSchedule.from_config({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012})
    _, level = schedule.levels(np.array([0]))
    assert level.item() == pytest.approx(0.00085**0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, "FlowMatch.*no beta_schedule"),
        ({"beta_schedule": "quadratic"}, "quadratic"),
        ({"beta_schedule": "linear", "prediction_type": "flow"}, "flow"),
    ],
)
def test_schedules_that_are_not_understood_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        NoiseSchedule.from_config(config)


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.array([]), np.array([1.5]), np.array([np.nan])])
def test_levels_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="alphas_cumprod"):
        NoiseSchedule.variance_preserving(values)
