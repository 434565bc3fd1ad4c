"""Checked and flattened inputs of all implementations.

Shapes: ``n`` rows, ``B`` images, ``size`` values of an image. A row is one (image, draw) pair in `diffuse`, and one
prediction in `noise_error`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Target = Literal["epsilon", "v_prediction", "flow_prediction", "sample"]
Loss = Literal["l2", "l1", "huber"]


@dataclass(frozen=True)
class NoisyImageInputs:
    """Noisy images ``alpha * x0 + sigma * noise``."""

    x0: Tensor
    """``(B, size)``."""
    keys: Tensor
    """int64 ``(n, 2)``."""
    alpha: Tensor
    """``(n,)`` in the computation's dtype."""
    sigma: Tensor
    """Like ``alpha``."""
    image: Tensor | None
    """int64 ``(n,)``, the image of each row. None: row ``i`` is of image ``i``, and ``B == n``."""
    dtype: torch.dtype
    """Of the result."""


@dataclass(frozen=True)
class NoiseErrorInputs:
    """Predictions and their targets; the error is ``rho(scale * (prediction - target))`` averaged over a row."""

    prediction: Tensor
    """``(n, size)``; rows may lie apart."""
    keys: Tensor
    """int64 ``(n, 2)``. Rows next to one another that share a key share the work of making its noise."""
    x0: Tensor | None
    """``(B, size)`` where the target needs it."""
    image: Tensor | None
    """int64 ``(n,)``, the image of each row. None: row ``i`` is of image ``i``."""
    alpha: Tensor | None
    """``(n,)`` where the target needs it, in the computation's dtype."""
    sigma: Tensor | None
    """Like ``alpha``."""
    scale: Tensor | None
    """``(n,)`` likewise, or none for ones."""
    weight: Tensor | None
    """``(B, size)`` or ``(1, size)`` likewise, adding up to 1 over an image's values (or to 0), or none for equal
    weights."""
    target: Target
    loss: Loss
    delta: float
    """Threshold at which the Huber loss turns from quadratic to linear."""


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """Dtype that an operation on this tensor computes in: float32, or float64 for float64."""
    return torch.promote_types(tensor.dtype, torch.float32)
