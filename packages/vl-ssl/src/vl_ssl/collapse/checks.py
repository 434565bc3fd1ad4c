"""Features and states that meters and alarms take: what is refused, with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# The squares of this many times as many numbers still fit in float64.
_LARGEST = 1e140


def checked_features(features: Tensor, dimensions: int | None = None) -> Tensor:
    """Features ``(B, d)`` without gradient.

    Raises:
        TypeError: If they are no tensor of floating-point numbers.
        ValueError: If they have another shape or width, or are not finite.
    """
    _check_type(features)
    if features.ndim != 2 or not features.shape[1]:
        raise ValueError(
            f"features must have shape (B, d) with d of at least 1, got {tuple(features.shape)}; "
            "pool or flatten what each sample has, and keep a batch dimension"
        )
    if dimensions is not None and features.shape[1] != dimensions:
        raise ValueError(
            f"features must have d = {dimensions} like those before, got {features.shape[1]}; "
            "use a meter of its own for each layer"
        )
    _check_values(features)
    return features.detach()


def checked_views(views: Tensor, dimensions: int | None = None) -> Tensor:
    """Features of views ``(B, q, d)`` without gradient.

    Raises:
        TypeError: If they are no tensor of floating-point numbers.
        ValueError: If they have another shape or width, or are not finite.
    """
    _check_type(views)
    if views.ndim != 3 or views.shape[1] < 2 or not views.shape[2]:
        raise ValueError(
            f"features must have shape (B, q, d) with q of at least 2 views, got {tuple(views.shape)}; "
            "stack the views of a batch with torch.stack([first, second], dim=1)"
        )
    return checked_features(views.flatten(0, 1), dimensions).reshape(views.shape)


def _check_type(features: Tensor) -> None:
    if not isinstance(features, Tensor):
        raise TypeError(
            f"features must be a tensor, got {type(features).__name__}; use torch.from_numpy or torch.stack"
        )
    if not features.is_floating_point():
        raise TypeError(
            f"features must be real floating-point numbers, got {features.dtype}; "
            "these may be labels or indices: call .float() if they are features"
        )


def _check_values(features: Tensor) -> None:
    # One reduction, and so one wait for a GPU; NaN compares false.
    if not features.numel():
        return
    least, most = torch.aminmax(features.detach())
    if bool((least > -_LARGEST) & (most < _LARGEST)):
        return
    wrong = ~(features.detach().double().abs() < _LARGEST).all(dim=1)
    row = int(torch.nonzero(wrong)[0])
    raise ValueError(
        f"features must be finite and below {_LARGEST:g}, got others in {int(wrong.sum())} of {len(features)} rows, "
        f"the first in row {row}; find the step that makes them, or leave these rows out"
    )


def first_tensor(output: Any) -> Tensor:
    """The first tensor of what a module returned: itself, or of a tuple, a list or a dictionary.

    Raises:
        TypeError: If there is none.
    """
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else (output,)
    for part in parts:
        if isinstance(part, Tensor):
            return part
    raise TypeError(f"the module must return a tensor, or several, got {type(output).__name__}; meter another one")


def check_options(kept: Mapping[str, Any], own: Mapping[str, Any], kind: str) -> None:
    """Compare the options in a state with those of the object that is to load it.

    Raises:
        ValueError: If one differs; all that do are named.
    """
    changed = [f"{name} {kept.get(name)}, here {value}" for name, value in own.items() if kept.get(name) != value]
    if changed:
        raise ValueError(f"state is of {kind} with {'; '.join(changed)}; make this one with the same arguments")
