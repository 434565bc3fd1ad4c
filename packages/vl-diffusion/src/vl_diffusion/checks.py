"""Checks of arguments; each error names the argument, what was expected, and what was passed."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    import torch

TimestepEmbedding = Literal["auto", "published", "diffusers"]
"""Time embedding of a DiT: the published network's, that of diffusers' class, or decided by the weights."""

_DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "float16": "float16",
    "fp16": "float16",
    "half": "float16",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float64": "float64",
    "fp64": "float64",
}


def checked_classes(classes: Sequence[str] | None) -> tuple[str, ...]:
    """Convert class names to a tuple; raise if they are missing, too few, blank, repeated or not strings."""
    if classes is None:
        raise ValueError("classes is missing, and the model does not name its classes; pass the class names")
    if isinstance(classes, str):
        raise ValueError(f"classes must be a sequence of names, got the single string {classes!r}")
    names = tuple(classes)
    if invalid := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"classes must be strings, got {invalid[0]!r} of type {type(invalid[0]).__name__}")
    if len(names) < 2:
        raise ValueError(f"classes must have at least two names to choose from, got {len(names)}: {list(names)}")
    if blank := [i for i, name in enumerate(names) if not name.strip()]:
        raise ValueError(f"classes must not be blank, but entries {blank} are")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"classes must be unique, got {', '.join(map(repr, repeated))} more than once")
    # Names from a NumPy array are strings of its own.
    return tuple(map(str, names))


def checked_logits(logits: Any, num_images: int, num_classes: int) -> np.ndarray:
    """Convert the scores of another model to float64 ``(num_images, num_classes)``."""
    # A tensor is the only array that is detached and moved; the commands check options before they import torch.
    values = np.asarray(logits.detach().cpu() if hasattr(logits, "detach") else logits, np.float64)
    if values.shape != (num_images, num_classes):
        raise ValueError(f"logits must have shape ({num_images}, {num_classes}), images by classes, got {values.shape}")
    if np.isnan(values).any():
        raise ValueError(f"logits must not be NaN, got NaN for image {int(np.isnan(values).any(1).argmax())}")
    return values


def checked_integer(name: str, value: Any) -> int:
    """Convert the value to an integer; a TypeError names the argument."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}") from None


def checked_settings(*, batch_size: int, temperature: float, seed: int) -> None:
    """Raise TypeError if a setting is not a number, and ValueError if it is out of range."""
    if checked_integer("batch_size", batch_size) < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    try:
        positive = 0 < temperature < math.inf
    except TypeError:
        kind = type(temperature).__name__
        raise TypeError(f"temperature must be a number, got {temperature!r} of type {kind}") from None
    if not positive:
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    if not 0 <= checked_integer("seed", seed) < 2**31:
        raise ValueError(f"seed must be in 0 ... 2**31 - 1, got {seed}")


def checked_dtype(dtype: str | torch.dtype | None, torch_dtype: str | torch.dtype | None = None) -> torch.dtype:
    """The precision of a network, float32 by default.

    Args:
        dtype: A floating-point dtype, or its name, such as ``"float16"``, ``"fp16"`` or ``"torch.float16"``.
        torch_dtype: The same argument under its older name; passing both is an error unless they agree.

    Raises:
        ValueError: If it is not a dtype that networks compute in, or the two differ.
    """
    # The commands check their options with this module, before they import torch.
    import torch

    arguments = {"dtype": dtype, "torch_dtype": torch_dtype}
    given = {name: _dtype(name, value) for name, value in arguments.items() if value is not None}
    if len(set(given.values())) > 1:
        raise ValueError(f"dtype and torch_dtype must agree, got {dtype!r} and {torch_dtype!r}; pass only dtype")
    return next(iter(given.values()), torch.float32)


def checked_autocast(autocast: str | torch.dtype | None) -> torch.dtype | None:
    """The precision of a network under autocast; None for its own.

    Raises:
        ValueError: If it is not a dtype that networks compute in, or the name of one.
    """
    return None if autocast is None else _dtype("autocast", autocast)


def _dtype(name: str, value: Any) -> torch.dtype:
    import torch

    name_of = _DTYPES.get(value.removeprefix("torch.").lower()) if isinstance(value, str) else None
    known = value if name_of is None else getattr(torch, name_of)
    if not isinstance(known, torch.dtype) or str(known).removeprefix("torch.") not in _DTYPES.values():
        raise ValueError(f"{name} must be a torch.dtype or one of {', '.join(_DTYPES)}, got {value!r}")
    return known


def checked_image_size(size: Any) -> int | None:
    """Convert an image size to an integer; None is the model's own.

    Raises:
        ValueError: If it is not one whole number, or less than 1.
    """
    try:
        if isinstance(size, bool):
            raise TypeError
        pixels = None if size is None else operator.index(size)
    except TypeError:
        raise ValueError(
            f"image_size must be one whole number of pixels, since images are square, got {size!r}"
        ) from None
    if pixels is not None and pixels < 1:
        raise ValueError(f"image_size must be at least 1 pixel, got {pixels}")
    return pixels


def checked_timestep_embedding(name: TimestepEmbedding) -> TimestepEmbedding:
    """Return the name, or raise ValueError if it is unknown."""
    if name not in get_args(TimestepEmbedding):
        raise ValueError(f"timestep_embedding must be one of {', '.join(get_args(TimestepEmbedding))}, got {name!r}")
    return name
