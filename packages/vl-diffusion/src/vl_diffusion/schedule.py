"""The noise schedule of a variance-preserving diffusion model, in double precision and from its configuration alone.

A noisy image is ``x_t = signal(t) * x_0 + noise_level(t) * epsilon`` with ``signal^2 + noise_level^2 = 1`` (Ho et al.,
2020, equation 4). The levels are computed here and not read from a scheduler object: schedulers disagree on what
``add_noise`` means (Euler's adds without scaling), and half-precision tables are off by 7 % at the first steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor

Prediction = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """Signal and noise levels at each training step, and what the network predicts.

    Attributes:
        alphas_cumprod: ``(T,)`` float64; the squared signal level at steps 0 ... T-1, strictly positive, decreasing.
        prediction: What the network's output is: the noise (``"epsilon"``), the velocity ``signal * epsilon -
            noise_level * x_0`` (``"v_prediction"``), or the clean image (``"sample"``).
    """

    alphas_cumprod: np.ndarray
    prediction: Prediction = "epsilon"

    def __post_init__(self) -> None:
        values = np.asarray(self.alphas_cumprod, np.float64)
        if values.ndim != 1 or not len(values) or not (np.all(values >= 0) and np.all(values <= 1)):
            raise ValueError(f"alphas_cumprod must be a row of numbers in [0, 1], got shape {values.shape}")
        if self.prediction not in get_args(Prediction):
            raise ValueError(f"prediction must be one of {', '.join(get_args(Prediction))}, got {self.prediction!r}")
        object.__setattr__(self, "alphas_cumprod", values)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """Read a diffusers scheduler's configuration (``scheduler.config`` or ``scheduler_config.json``).

        Raises:
            ValueError: If the schedule is not variance preserving (flow matching, EDM) or of an unknown shape, or if
                one of its settings is no number.
        """
        name = config.get("_class_name", "the scheduler")
        if "beta_schedule" not in config and config.get("trained_betas") is None:
            raise ValueError(
                f"{name} has no beta_schedule: only variance-preserving schedules (DDPM, DDIM, PNDM, Euler, "
                "DPM-Solver) are supported; flow-matching and EDM models are not"
            )
        betas = _betas(config)
        if config.get("rescale_betas_zero_snr"):
            betas = _rescaled_to_zero_snr(betas)
        prediction = config.get("prediction_type") or "epsilon"
        return cls(np.cumprod(1 - betas), cast(Prediction, prediction))

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def levels(self, timestep: np.ndarray) -> tuple[Tensor, Tensor]:
        """Signal and noise levels ``(n,)``, float32, at integer steps ``(n,)``."""
        alpha = self.alphas_cumprod[timestep]
        return torch.from_numpy(np.sqrt(alpha)).float(), torch.from_numpy(np.sqrt(1 - alpha)).float()

    def epsilon(self, output: Tensor, x_t: Tensor, signal: Tensor, noise_level: Tensor) -> Tensor:
        """The network's output as an estimate of the noise, float32.

        Args:
            output: What the network said, ``(B, C, H, W)``.
            x_t: What it was shown, same shape.
            signal: Signal levels, broadcastable to them.
            noise_level: Noise levels, likewise.
        """
        output, x_t = output.float(), x_t.float()
        if self.prediction == "epsilon":
            return output
        if self.prediction == "v_prediction":
            return signal * output + noise_level * x_t
        return (x_t - signal * output) / noise_level

    def epsilon_scale(self, signal: Tensor, noise_level: Tensor) -> Tensor:
        """What an error of the network's output is multiplied by to be one of the noise that `epsilon` makes of it.

        Args:
            signal: Signal levels, of any shape.
            noise_level: Noise levels, of the same shape.
        """
        if self.prediction == "epsilon":
            return torch.ones_like(signal)
        return signal if self.prediction == "v_prediction" else signal / noise_level

    def timesteps(self, num_draws: int) -> np.ndarray:
        """The steps of `num_draws` evenly spaced draws, each at the middle of its share of the schedule.

        With 1,000 steps, 500 draws are at 1, 3, ..., 999 and 250 at 2, 6, ..., 998, as in the Diffusion Classifier.

        Returns:
            Increasing int64 ``(num_draws,)`` in 0 ... T-1; steps repeat where there are more draws than steps.
        """
        return (2 * np.arange(num_draws, dtype=np.int64) + 1) * len(self) // (2 * num_draws)


def _betas(config: Mapping[str, Any]) -> np.ndarray:
    if config.get("trained_betas") is not None:
        try:
            return np.asarray(config["trained_betas"], np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"trained_betas must be a list of numbers, got {config['trained_betas']!r}") from None
    steps = config.get("num_train_timesteps", 1000)
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"num_train_timesteps must be a positive integer, got {steps!r}")
    first, last = _number(config, "beta_start", 1e-4), _number(config, "beta_end", 0.02)
    shape = config["beta_schedule"]
    if shape == "linear":
        return np.linspace(first, last, steps)
    if shape == "scaled_linear":
        return np.linspace(math.sqrt(first), math.sqrt(last), steps) ** 2
    if shape == "squaredcos_cap_v2":
        # Nichol & Dhariwal, 2021, equation 17, with the cap that keeps the last step from losing the signal.
        alpha_bar: np.ndarray = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * math.pi / 2) ** 2
        betas: np.ndarray = np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999)
        return betas
    if shape == "sigmoid":
        return (last - first) / (1 + np.exp(-np.linspace(-6, 6, steps))) + first
    raise ValueError(f"beta_schedule {shape!r} is not linear, scaled_linear, squaredcos_cap_v2 or sigmoid")


def _number(config: Mapping[str, Any], name: str, default: float) -> float:
    value = config.get(name, default)
    if not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return value


def _rescaled_to_zero_snr(betas: np.ndarray) -> np.ndarray:
    """Shift and scale the signal level so that the last step holds pure noise (Lin et al., 2023, algorithm 1)."""
    signal = np.sqrt(np.cumprod(1 - betas))
    signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    alphas_cumprod = signal**2
    return 1 - np.concatenate([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])
