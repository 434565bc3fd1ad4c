"""Check each argument of the public functions and bring it into the form of `inputs`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vl_core.kernels.checks import check_floating, is_finite_number


def read_keys(keys: Tensor, rows: int | None, like: Tensor) -> Tensor:
    """Keys ``(n, 2)``, checked to be one per row if the number of rows is given."""
    if not isinstance(keys, Tensor) or keys.dtype != torch.int64:
        got = keys.dtype if isinstance(keys, Tensor) else type(keys).__name__
        raise TypeError(f"keys must be an int64 tensor, got {got}; build them with vl_core.noise.make_keys")
    if keys.ndim not in (1, 2) or (keys.ndim == 2 and keys.shape[1] != 2):
        raise ValueError(f"keys must have shape (n,) or (n, 2), got {tuple(keys.shape)}")
    if rows is not None and len(keys) != rows:
        raise ValueError(f"keys must hold one key for each of the {rows} rows, got {len(keys)}")
    _check_device("keys", keys, like)
    return torch.stack((keys, torch.zeros_like(keys)), 1) if keys.ndim == 1 else keys.contiguous()


def read_image(image: Tensor | None, rows: int, images: int, of: str, like: Tensor) -> Tensor | None:
    """Image index of each row; its values are checked where they are read."""
    if image is None:
        if images != rows:
            raise ValueError(
                f"{of} must hold one image for each of the {rows} rows unless image is given, got {images}"
            )
        return None
    if images == 0 and rows > 0:
        raise ValueError(f"{of} must hold an image, got none for {rows} rows")
    if not isinstance(image, Tensor) or image.dtype != torch.int64:
        got = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"image must be an int64 tensor, got {got}")
    if image.shape != (rows,):
        raise ValueError(f"image must have shape ({rows},), one for each row, got {tuple(image.shape)}")
    _check_device("image", image, like)
    return image.contiguous()


def read_level(name: str, level: float | Tensor, rows: int, dtype: torch.dtype, like: Tensor) -> Tensor:
    """A number for each row, ``(n,)``."""
    if not isinstance(level, Tensor):
        if isinstance(level, bool) or not is_finite_number(level):
            raise ValueError(f"{name} must be a finite number or a tensor, got {level!r}")
        return torch.full((rows,), float(level), dtype=dtype, device=like.device)
    check_floating(name, level)
    if level.shape not in ((), (rows,)):
        raise ValueError(f"{name} must have shape () or ({rows},), got {tuple(level.shape)}")
    _check_constant(name, level, like)
    return level.to(dtype).expand(rows).contiguous()


def read_x0(x0: Tensor | None, prediction: Tensor, target: str) -> Tensor:
    """Clean images ``(B, size)`` that the target is computed from."""
    if x0 is None:
        raise ValueError(f"x0 must be given for target={target!r}")
    check_floating("x0", x0)
    if x0.ndim != prediction.ndim or x0.shape[1:] != prediction.shape[1:]:
        raise ValueError(f"x0 must have shape (images, {_sizes(prediction)}) like prediction, got {tuple(x0.shape)}")
    _check_constant("x0", x0, prediction)
    return flat(x0)


def read_weight(weight: Tensor, images: int | None, prediction: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights ``(B or 1, size)`` normalized to sum to one over an image; all-zero weights stay zero."""
    check_floating("weight", weight)
    _check_constant("weight", weight, prediction)
    shape = tuple(prediction.shape[1:])
    by_image = weight if weight.ndim > len(shape) else weight[None]
    try:
        full = by_image.expand(len(by_image), *shape)
    except RuntimeError:
        raise ValueError(
            f"weight must broadcast to (images, {_sizes(prediction)}), got {tuple(weight.shape)}"
        ) from None
    if images is not None and len(full) not in (1, images):
        raise ValueError(f"weight must be of 1 or {images} images, got {len(full)}")
    weights = flat(full).to(dtype)
    total = weights.sum(1, keepdim=True)
    return (weights / torch.where(total == 0, 1, total)).contiguous()


def flat(tensor: Tensor) -> Tensor:
    """``(n, size)``."""
    return tensor.reshape(len(tensor), math.prod(tensor.shape[1:]))


def _sizes(prediction: Tensor) -> str:
    return ", ".join(map(str, prediction.shape[1:]))


def _check_constant(name: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{name} gets no gradient; pass {name}.detach()")
    _check_device(name, tensor, like)


def _check_device(name: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.device != like.device:
        raise ValueError(f"{name} must be on {like.device} like the images, got {tensor.device}")
