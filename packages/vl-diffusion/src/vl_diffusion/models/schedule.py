"""Noise schedules of diffusion and flow-matching models, in double precision and from the configuration alone.

A noisy image is ``x_t = alpha * x_0 + sigma * epsilon``: with ``alpha^2 + sigma^2 = 1`` for a variance-preserving model
(Ho et al., 2020, equation 4), with ``alpha = 1 - sigma`` for flow matching (Lipman et al., 2023; Liu et al., 2023). The
levels are computed here instead of read from a scheduler object: schedulers differ in ``add_noise`` (Euler's adds noise
without scaling the image), and half-precision tables are off by 7 % at the first steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Prediction = Literal["epsilon", "v_prediction", "flow_prediction", "sample"]
"""Prediction type of a network, or the quantity whose error is measured: the noise; the velocity ``alpha * epsilon -
sigma * x_0`` of a variance-preserving model; the velocity ``epsilon - x_0`` of a flow; or the clean image ``x_0``."""


_MAX_STEPS = 1_000_000
_MAX_NUMBER = 1e9
"""Bounds of settings, far from any in use, so that a damaged file costs neither memory nor overflow."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """Signal and noise levels at each training step, and the prediction type of the network.

    Attributes:
        alpha: float64 ``(T,)``, the signal level at steps 0 ... T-1, from low to high noise.
        sigma: float64 ``(T,)``, the noise level, increasing.
        times: ``(T,)``, the time input of the network at each step: int64, or float64 for flows.
        prediction: The prediction type.
    """

    alpha: np.ndarray
    sigma: np.ndarray
    times: np.ndarray
    prediction: Prediction = "epsilon"

    def __post_init__(self) -> None:
        for name in ("alpha", "sigma"):
            values = np.asarray(getattr(self, name), np.float64)
            if values.ndim != 1 or not len(values) or not (np.isfinite(values).all() and (values >= 0).all()):
                raise ValueError(f"{name} must be a 1-d array of finite non-negative numbers, got shape {values.shape}")
            object.__setattr__(self, name, values)
        if not len(self.alpha) == len(self.sigma) == len(self.times):
            lengths = f"{len(self.alpha)}, {len(self.sigma)} and {len(self.times)}"
            raise ValueError(f"alpha, sigma and times must have the same length, got {lengths}")
        if self.prediction not in get_args(Prediction):
            raise ValueError(f"prediction must be one of {', '.join(get_args(Prediction))}, got {self.prediction!r}")

    @classmethod
    def variance_preserving(cls, alphas_cumprod: np.ndarray, prediction: Prediction = "epsilon") -> NoiseSchedule:
        """Variance-preserving schedule from squared signal levels ``(T,)``, decreasing; times are the step indices.

        Raises:
            ValueError: If a level is not in [0, 1].
        """
        squared = np.asarray(alphas_cumprod, np.float64)
        if squared.ndim != 1 or not len(squared) or not (np.all(squared >= 0) and np.all(squared <= 1)):
            raise ValueError(f"alphas_cumprod must be a 1-d array of numbers in [0, 1], got shape {squared.shape}")
        return cls(np.sqrt(squared), np.sqrt(1 - squared), np.arange(len(squared)), prediction)

    @classmethod
    def flow_matching(cls, sigma: np.ndarray, *, scale: float = 1000.0) -> NoiseSchedule:
        """Flow-matching schedule ``(1 - sigma) * x_0 + sigma * epsilon``; times are ``scale * sigma``.

        Raises:
            ValueError: If a level is not in [0, 1].
        """
        levels = np.asarray(sigma, np.float64)
        if levels.ndim != 1 or not len(levels) or not (np.all(levels >= 0) and np.all(levels <= 1)):
            raise ValueError(f"sigma must be a 1-d array of numbers in [0, 1], got shape {levels.shape}")
        return cls(1 - levels, levels, scale * levels, "flow_prediction")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """Read a diffusers scheduler's configuration (``scheduler.config`` or ``scheduler_config.json``).

        Raises:
            ValueError: If the schedule is neither variance preserving nor a flow, its shape is unknown, or a setting is
                not a number.
        """
        name = str(config.get("_class_name", "the scheduler"))
        is_flow = "shift" in config and "beta_schedule" not in config
        if is_flow or config.get("prediction_type") == "flow_prediction":
            return cls.flow_matching(_flow_levels(config), scale=_num_steps(config))
        if "beta_schedule" not in config and config.get("trained_betas") is None:
            raise ValueError(
                f"{name} has no beta_schedule: variance-preserving schedules (DDPM, DDIM, PNDM, Euler, DPM-Solver) and "
                "flow matching are supported; EDM is not"
            )
        if config.get("timestep_type") == "continuous":
            raise ValueError(f"{name} uses continuous timesteps of EDM, which is not supported")
        betas = _betas(config)
        if betas.ndim != 1 or not ((betas >= 0) & (betas <= 1)).all():
            raise ValueError(f"betas of {name} must be numbers in [0, 1], one for each step")
        if config.get("rescale_betas_zero_snr"):
            betas = _rescaled_to_zero_snr(betas)
        prediction = config.get("prediction_type") or "epsilon"
        return cls.variance_preserving(np.cumprod(1 - betas), cast(Prediction, prediction))

    @classmethod
    def from_scheduler(cls, scheduler: Any) -> NoiseSchedule:
        """Read the configuration of a diffusers scheduler object, adding its class name, which may be missing there.

        Raises:
            ValueError: See :meth:`from_config`.
        """
        names = [kind.__name__ for kind in type(scheduler).__mro__]
        name = next((name for name in names if name.startswith("FlowMatch")), names[0])
        return cls.from_config({**scheduler.config, "_class_name": name})

    def __len__(self) -> int:
        return len(self.alpha)

    @property
    def alphas_cumprod(self) -> np.ndarray:
        """Squared signal levels, float64 ``(T,)``."""
        squared: np.ndarray = self.alpha**2
        return squared

    def levels(self, step: np.ndarray) -> tuple[Tensor, Tensor]:
        """Signal and noise levels ``(n,)``, float32, at integer steps ``(n,)``."""
        import torch

        return torch.from_numpy(self.alpha[step]).float(), torch.from_numpy(self.sigma[step]).float()

    def network_times(self, step: np.ndarray) -> Tensor:
        """Time inputs of the network at integer steps ``(n,)``: int64, or float32 for flows."""
        import torch

        times = torch.from_numpy(self.times[step])
        return times.float() if times.is_floating_point() else times

    def steps(
        self, num_draws: int, time_range: tuple[float, float] = (0.0, 1.0), *, strided: bool = False
    ) -> np.ndarray:
        """The steps of `num_draws` evenly spaced draws.

        With 1,000 steps, 500 draws are at 1, 3, ..., 999 and 250 at 2, 6, ..., 998, as in the Diffusion Classifier.
        Numbers that do not divide the schedule differ: 300 draws are at 1, 5, 8, ..., 998 in the middles of equal
        parts, and at 1, 4, ..., 898 with the authors' stride.

        Args:
            num_draws: Number of draws.
            time_range: Part of the schedule to cover, from 0 (no noise) to 1.
            strided: Place draws ``T // num_draws`` steps apart, from half of that on, and leave out the rest, instead
                of each in the middle of one of `num_draws` equal parts.

        Returns:
            Increasing int64 ``(num_draws,)`` in 0 ... T-1; in the middles of parts, steps repeat if there are more
            draws than steps.

        Raises:
            ValueError: If `time_range` is not a part of the schedule, or a stride is less than one step.
        """
        low, high = check_time_range(time_range)
        if strided:
            first, last = round(low * len(self)), round(high * len(self))
            stride = (last - first) // num_draws
            if stride < 1:
                raise ValueError(
                    f"draws must be at most {last - first}, the number of time steps, with a literal grid, got "
                    f"{num_draws}; use several trials per time step instead"
                )
            return first + stride // 2 + stride * np.arange(num_draws, dtype=np.int64)
        if (low, high) == (0.0, 1.0):
            return (2 * np.arange(num_draws, dtype=np.int64) + 1) * len(self) // (2 * num_draws)
        middle = low + (high - low) * (np.arange(num_draws) + 0.5) / num_draws
        # Guard against rounding just below an integer.
        steps: np.ndarray = np.minimum(middle * len(self) + 1e-6, len(self) - 1).astype(np.int64)
        return steps

    def estimates(self, output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> dict[Prediction, Tensor]:
        """Convert the network's output to estimates of all prediction types, float32.

        An estimate is infinite or NaN where the output does not determine it, such as the image from a noise prediction
        where ``alpha`` is zero.

        Args:
            output: Output of the network, ``(B, ...)``.
            x_t: Noisy images, same shape.
            alpha: Signal levels, broadcastable to `x_t`.
            sigma: Noise levels, broadcastable to `x_t`.
        """
        output, x_t = output.float(), x_t.float()
        if self.prediction == "epsilon":
            epsilon, sample = output, (x_t - sigma * output) / alpha
        elif self.prediction == "sample":
            epsilon, sample = (x_t - alpha * output) / sigma, output
        elif self.prediction == "v_prediction":
            power = alpha**2 + sigma**2
            epsilon, sample = (alpha * output + sigma * x_t) / power, (alpha * x_t - sigma * output) / power
        else:
            total = alpha + sigma
            epsilon, sample = (x_t + alpha * output) / total, (x_t - sigma * output) / total
        return {
            "epsilon": epsilon,
            "v_prediction": alpha * epsilon - sigma * sample,
            "flow_prediction": epsilon - sample,
            "sample": sample,
        }

    def error_scale(self, space: Prediction, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Factor that converts an error of the network's output to an error of another quantity.

        The noisy image is known, so errors of noise and image satisfy ``alpha * dx_0 + sigma * depsilon = 0``.

        Args:
            space: The quantity whose error is measured.
            alpha: Signal levels, of any shape.
            sigma: Noise levels, of the same shape.

        Returns:
            Non-negative factors of the same shape.
        """
        if space == self.prediction:
            return alpha.new_ones(alpha.shape)
        relative = {
            "epsilon": alpha,
            "v_prediction": alpha**2 + sigma**2,
            "flow_prediction": alpha + sigma,
            "sample": sigma,
        }
        return relative[space] / relative[self.prediction]


def _betas(config: Mapping[str, Any]) -> np.ndarray:
    if config.get("trained_betas") is not None:
        try:
            return np.asarray(config["trained_betas"], np.float64)
        except (TypeError, ValueError, OverflowError):
            got = repr(config["trained_betas"])[:200]
            raise ValueError(f"trained_betas must be a list of numbers, got {got}") from None
    steps = _num_steps(config)
    first, last = _number(config, "beta_start", 1e-4), _number(config, "beta_end", 0.02)
    shape = config["beta_schedule"]
    if shape == "linear":
        return np.linspace(first, last, steps)
    if shape == "scaled_linear":
        return np.linspace(math.sqrt(max(first, 0)), math.sqrt(max(last, 0)), steps) ** 2
    if shape == "squaredcos_cap_v2":
        # Nichol & Dhariwal, 2021, equation 17, with the cap that keeps the last step from losing the signal.
        alpha_bar: np.ndarray = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * math.pi / 2) ** 2
        betas: np.ndarray = np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999)
        return betas
    if shape == "sigmoid":
        return (last - first) / (1 + np.exp(-np.linspace(-6, 6, steps))) + first
    raise ValueError(f"beta_schedule must be linear, scaled_linear, squaredcos_cap_v2 or sigmoid, got {shape!r}")


def _flow_levels(config: Mapping[str, Any]) -> np.ndarray:
    """Noise levels 1/T ... 1, shifted towards noise by a fixed factor if configured.

    A resolution-dependent shift (``use_dynamic_shifting``) is only for sampling and not applied.
    """
    steps = _num_steps(config)
    level = np.arange(1, steps + 1) / steps
    shift = 1.0 if config.get("use_dynamic_shifting") else _number(config, "shift", 1.0)
    if config.get("flow_shift") is not None:
        shift = _number(config, "flow_shift", 1.0)
    if not shift >= 1 / _MAX_NUMBER:
        raise ValueError(f"shift must be positive, got {shift}")
    return shift * level / (1 + (shift - 1) * level)


def _num_steps(config: Mapping[str, Any]) -> int:
    steps = config.get("num_train_timesteps", 1000)
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"num_train_timesteps must be a positive integer, got {repr(steps)[:80]}")
    if steps > _MAX_STEPS:
        raise ValueError(f"num_train_timesteps must be at most {_MAX_STEPS:,}, got {str(steps)[:40]}")
    return steps


def _number(config: Mapping[str, Any], name: str, default: float) -> float:
    value = config.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{name} must be a number, got {repr(value)[:80]}")
    if not abs(value) <= _MAX_NUMBER:
        raise ValueError(f"{name} must be at most {_MAX_NUMBER:g}, got {str(value)[:40]}")
    return value


def _rescaled_to_zero_snr(betas: np.ndarray) -> np.ndarray:
    """Shift and scale the signal level so that the last step holds pure noise (Lin et al., 2023, algorithm 1)."""
    signal = np.sqrt(np.cumprod(1 - betas))
    if not (signal[0] > signal[-1] and (signal[:-1] > 0).all()):
        raise ValueError("rescale_betas_zero_snr needs betas that lower the signal, and none but the last to zero")
    signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    alphas_cumprod = signal**2
    return 1 - np.concatenate([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])


def check_time_range(time_range: tuple[float, float]) -> tuple[float, float]:
    """Return both ends of a part of the schedule.

    Raises:
        ValueError: Unless they are two numbers with 0 <= low < high <= 1.
    """
    try:
        low, high = time_range
        ordered = 0 <= low < high <= 1
    except (TypeError, ValueError):
        ordered = False
    if not ordered:
        raise ValueError(f"time_range must be two numbers with 0 <= low < high <= 1, got {time_range!r}")
    return low, high
