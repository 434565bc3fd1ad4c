"""Forms of the denoising error: a loss of the difference from the target, or a term of the variational bound."""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch
from torch import Tensor

from vl_diffusion.models.denoiser import Denoiser, learns_variance
from vl_diffusion.models.schedule import NoiseSchedule, Prediction
from vl_diffusion.scoring.objectives import Objective


def check_objective(objective: str, error_space: str, denoiser: Denoiser) -> None:
    """Raise ValueError unless both names are known, fit one another, and suit the model."""
    if objective not in get_args(Objective):
        raise ValueError(f"objective must be one of {', '.join(get_args(Objective))}, got {objective!r}")
    if error_space not in get_args(Prediction):
        raise ValueError(f"error_space must be one of {', '.join(get_args(Prediction))}, got {error_space!r}")
    if objective not in ("vlb", "l2+vlb"):
        return
    if error_space != "epsilon":
        raise ValueError(
            f"objective={objective!r} has a divergence, which has no error_space, got {error_space!r}; leave it out"
        )
    if not learns_variance(denoiser):
        raise ValueError(f"objective={objective!r} needs a model that learns a variance; use 'l2', 'l1' or 'huber'")


def variational_map(output: Tensor, x_t: Tensor, x0: Tensor, steps: np.ndarray, schedule: NoiseSchedule) -> Tensor:
    """Divergence of the model's reverse step from the true one, ``KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))``.

    Ho et al. (2020), equations 5 to 7, with the learned variance of Nichol & Dhariwal (2021), equation 15: the model's
    output ``v`` in [-1, 1] lies between the logarithms of the posterior's variance and of ``beta``. At step 0, where
    the posterior has no variance, that of step 1 stands in.

    Args:
        output: ``(B, 2c, h, w)``, the prediction followed by ``v``.
        x_t: ``(B, c, h, w)``, the noisy images.
        x0: ``(B, c, h, w)``, the clean images.
        steps: int64 ``(B,)``.
        schedule: A variance-preserving schedule.

    Returns:
        Nats of each value, float32 ``(B, c, h, w)``.
    """
    prediction, between = output.float().chunk(2, dim=1)
    alpha, sigma = (_column(level, x_t) for level in (schedule.alpha[steps], schedule.sigma[steps]))
    estimate = schedule.estimates(prediction, x_t, alpha, sigma)["sample"]
    weight, log_posterior, log_beta = (_column(values[steps], x_t) for values in _posterior(schedule))
    fraction = (between + 1) / 2
    log_variance = fraction * log_beta + (1 - fraction) * log_posterior
    ratio = log_posterior - log_variance
    # The means differ by `weight` times the difference of the clean images.
    squared = (weight * (x0.float() - estimate)) ** 2 * torch.exp(-log_variance)
    divergence: Tensor = 0.5 * (ratio.exp() - ratio - 1 + squared)
    return divergence


def _posterior(schedule: NoiseSchedule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each step, the clean image's weight in the posterior mean, and the logarithms of its variance and of beta."""
    now = schedule.alphas_cumprod
    before = np.concatenate([[1.0], now[:-1]])
    beta = 1 - now / before
    with np.errstate(divide="ignore"):
        log_variance = np.log(beta * (1 - before) / (1 - now))
    log_variance[0] = log_variance[1] if len(now) > 1 else np.log(beta[0])
    return np.sqrt(before) * beta / (1 - now), log_variance, np.log(beta)


def _column(values: np.ndarray, like: Tensor) -> Tensor:
    """``(B, 1, 1, 1)`` on the device of the images."""
    return torch.from_numpy(values).float().to(like.device).view(-1, *[1] * (like.ndim - 1))
