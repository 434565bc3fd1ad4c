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


VP, FLOW = {"beta_schedule": "linear"}, {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
SCHEDULES = [
    *(NoiseSchedule.from_config({**VP, "prediction_type": name}) for name in ("epsilon", "v_prediction", "sample")),
    NoiseSchedule.from_config(FLOW),
]
by_prediction = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.prediction)


def truth(schedule, steps):
    """Levels, a noisy image and all that could be predicted of it, in float64 so that conversions are exact."""
    alpha, sigma = (torch.from_numpy(v[steps]).view(-1, 1, 1, 1) for v in (schedule.alpha, schedule.sigma))
    x0, noise = torch.randn(2, len(steps), 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    quantities = {"epsilon": noise, "v_prediction": alpha * noise - sigma * x0, "flow_prediction": noise - x0}
    return alpha, sigma, alpha * x0 + sigma * noise, quantities | {"sample": x0}


@by_prediction
def test_every_prediction_is_converted_into_every_other(schedule):
    alpha, sigma, x_t, quantities = truth(schedule, np.array([100, 500, 900]))
    estimates = schedule.estimates(quantities[schedule.prediction], x_t, alpha, sigma)
    for name, quantity in quantities.items():
        torch.testing.assert_close(estimates[name], quantity, rtol=1e-4, atol=1e-5, check_dtype=False)


@by_prediction
@pytest.mark.parametrize("space", ["epsilon", "v_prediction", "flow_prediction", "sample"])
def test_error_of_the_output_times_its_scale_is_the_error_in_any_space(schedule, space):
    alpha, sigma, x_t, quantities = truth(schedule, np.array([100, 300, 900]))
    guess = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    error = (guess - quantities[schedule.prediction]) * schedule.error_scale(space, alpha, sigma)
    wanted = schedule.estimates(guess, x_t, alpha, sigma)[space] - quantities[space]
    torch.testing.assert_close(error.abs(), wanted.abs(), rtol=1e-3, atol=1e-4, check_dtype=False)


def test_flow_levels_are_those_of_the_euler_scheduler():
    for config in ({"shift": 3.0}, {"shift": 1.0}, {"shift": 1.0, "num_train_timesteps": 20}):
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**config)
        schedule = NoiseSchedule.from_config(scheduler.config)
        np.testing.assert_allclose(schedule.sigma, scheduler.sigmas.numpy()[::-1], rtol=1e-5)
        np.testing.assert_allclose(schedule.alpha, 1 - schedule.sigma)
        # What the network is told is a thousand times the level, or as many times as there are steps.
        np.testing.assert_allclose(schedule.times, scheduler.timesteps.numpy()[::-1], rtol=1e-5)
        assert schedule.prediction == "flow_prediction"


def test_draws_can_cover_a_part_of_the_schedule():
    schedule = NoiseSchedule.from_config(VP)
    assert schedule.steps(4, (0.25, 0.75)).tolist() == [312, 437, 562, 687]
    assert schedule.steps(1, (0.0, 0.5)).tolist() == [250]
    assert schedule.steps(2, (0.999, 1.0)).tolist() == [999, 999]


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
        ({"_class_name": "EDMEulerScheduler", "sigma_data": 0.5}, "EDMEulerScheduler.*no beta_schedule"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 0.0}, "shift must be positive, got 0"),
        ({"beta_schedule": "quadratic"}, "quadratic"),
        ({"beta_schedule": "linear", "prediction_type": "flow"}, "flow"),
    ],
)
def test_unsupported_schedules_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        NoiseSchedule.from_config(config)


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.array([]), np.array([1.5]), np.array([np.nan])])
def test_levels_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="alphas_cumprod"):
        NoiseSchedule.variance_preserving(values)


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({**VP, "num_train_timesteps": 2**31}, "num_train_timesteps must be at most 1,000,000"),
        ({**VP, "beta_start": 256.0}, r"betas of the scheduler must be numbers in \[0, 1\]"),
        ({**VP, "beta_start": 1e300}, "beta_start must be at most"),
        ({**VP, "beta_start": 0.0, "beta_end": 0.0, "rescale_betas_zero_snr": True}, "rescale_betas_zero_snr needs"),
        ({**FLOW, "shift": 1e-320}, "shift must be positive"),
        ({"trained_betas": [10**400]}, "trained_betas must be a list of numbers"),
    ],
)
def test_settings_of_a_damaged_file_cost_neither_memory_nor_overflow(config, cause):
    with pytest.raises(ValueError, match=cause):
        NoiseSchedule.from_config(config)
