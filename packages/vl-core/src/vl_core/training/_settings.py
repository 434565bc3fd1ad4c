"""Settings of the training loop, and the learning rate that they give to each update."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["float32", "bfloat16"]
"""Precision of the forward pass; weights are float32 either way."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of `fit`: how long, how large a batch, how fast, in which precision.

    Raises:
        ValueError: If a value is out of range.
    """

    updates: int
    """Steps of the optimizer in all."""
    batch_size: int
    """Samples an update, over all processes and accumulated passes."""
    accumulation: int = 1
    """Passes (forward and backward) in which a process computes its share of an update."""
    learning_rate: float = 1e-3
    """Peak learning rate; multiplied by a parameter group's ``lr_scale`` where it has one."""
    min_learning_rate: float = 0.0
    """Learning rate at the end of the decay, at most the peak."""
    warmup: int = 0
    """Updates over which the learning rate rises linearly from zero."""
    decay_share: float = 1.0
    """Share of the updates over which the learning rate falls along half a cosine, at the end. By default all after the
    warm-up; below 1 there is a plateau at the peak before, and with 0 no decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Betas of AdamW, the default optimizer."""
    weight_decay: float = 0.0
    """Weight decay of AdamW, the default optimizer."""
    max_grad_norm: float = 0.0
    """Norm to which gradients are clipped; 0 for no clipping."""
    ema_decay: float = 0.0
    """Decay of the EMA of the weights, which is what the model holds at the end; 0 for none. See `WeightEMA`."""
    precision: Precision = "float32"
    """Precision of the forward pass: ``"bfloat16"`` is autocast; weights are float32 either way."""
    math_attention: bool = False
    """Compute attention with its maps in memory: for a CPU and few tokens, where the backward pass of fused
    attention is slow."""
    workers: int = 0
    """Processes that prepare data, for each process that trains; they change no number."""
    seed: int = 0
    """Seed of everything random in a pass, such as dropout. Order and initial weights have seeds of their own."""

    def __post_init__(self) -> None:
        for name in ("updates", "batch_size", "accumulation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "min_learning_rate", "weight_decay", "max_grad_norm", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate must be at most learning_rate, got {self.min_learning_rate:g} and "
                f"{self.learning_rate:g}; lower the one or raise the other"
            )
        if not 0 <= self.warmup <= self.updates:
            raise ValueError(f"warmup must lie in 0..{self.updates}, the number of updates, got {self.warmup}")
        if not 0 <= self.decay_share <= 1:
            raise ValueError(f"decay_share must lie in 0..1, got {self.decay_share}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {self.ema_decay}")
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision must be 'float32' or 'bfloat16', got {self.precision!r}")

    def learning_rate_at(self, update: int) -> float:
        """Learning rate of an update, from 0: linear warm-up, plateau, half a cosine.

        With ``t = update + 1`` updates done in all once it is over, warm-up ``w``, and decay from ``s`` to ``T``:
        ``peak t / w`` below ``w``, then ``peak`` below ``s``, then ``min + (peak - min) (1 + cos(pi (t - s) / (T - s)))
        / 2``.
        """
        t, peak, low = update + 1, self.learning_rate, self.min_learning_rate
        start = max(self.warmup, round(self.updates * (1 - self.decay_share)))
        if t < self.warmup:
            return t * (peak / self.warmup)
        if t < start:
            return peak
        return low + 0.5 * (peak - low) * (1 + math.cos(math.pi * (t - start) / max(1, self.updates - start)))
