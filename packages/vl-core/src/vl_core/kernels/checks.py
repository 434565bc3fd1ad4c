"""Argument checks and implementation choice shared by all operations of `vl_core.kernels`."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence

from torch import Tensor

_HAS_TRITON = importlib.util.find_spec("triton") is not None


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_floating(name: str, tensor: object) -> None:
    """Raise TypeError unless `tensor` is a tensor of a floating type."""
    if not isinstance(tensor, Tensor) or not tensor.dtype.is_floating_point:
        got = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"{name} must be a tensor of a floating type, got {got}")


def is_finite_number(value: object) -> bool:
    """Return True for a finite number. `math.isfinite` would specialize a compiled call to this number."""
    # A tuple, because torch.compile of PyTorch 2.9 cannot trace a union.
    return isinstance(value, (int, float)) and -math.inf < value < math.inf


def triton_missing(device: str) -> str | None:
    """Reason why no Triton kernel runs on this type of device, or None if one does."""
    if not _HAS_TRITON:
        return "Triton is not installed"
    if device != "cuda" and not (device == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"):
        return f"it needs a GPU, and the tensors are on {device!r}"
    return None
