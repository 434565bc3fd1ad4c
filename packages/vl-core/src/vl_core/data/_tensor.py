"""Convert every accepted form of an image to a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vl_core.data._image import upright


def image_to_tensor(image: Image.Image | np.ndarray[Any, Any] | Tensor) -> Tensor:
    """Convert an image to float32 ``(C, H, W)`` in [0, 1]: one channel for grayscale, three for color.

    Args:
        image: A PIL image in any mode (turned by its EXIF orientation, transparency composited on white, all as
            `read_image` does), a uint8 array ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)``, or a floating-point tensor or
            array ``(C, H, W)`` in [0, 1].

    Returns:
        A float32 tensor; a tensor keeps its device and its gradient.

    Raises:
        TypeError: If it is none of these.
        ValueError: If the dtype, the shape, the number of channels or the range is another, a value is not finite, or a
            PIL image that was opened lazily is damaged.

    Example:
        >>> image_to_tensor(np.full((2, 2), 255, np.uint8)).tolist()
        [[[1.0, 1.0], [1.0, 1.0]]]
    """
    if isinstance(image, Image.Image):
        return _from_uint8(np.asarray(upright(image)))
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8:
            return _from_uint8(image)
        if np.issubdtype(image.dtype, np.floating):
            return _from_floats(torch.from_numpy(image.astype(np.float32)))
        raise ValueError(f"image array must be uint8 or floating point, got {image.dtype}; convert it first")
    if isinstance(image, Tensor):
        if image.is_meta:
            raise ValueError("image tensor must hold values, got one on the meta device; load it on another device")
        if image.layout != torch.strided:
            raise ValueError(f"image tensor must be dense, got {image.layout}; call to_dense()")
        if image.is_floating_point():
            return _from_floats(image.to(torch.float32))
        raise ValueError(
            f"image tensor must be floating point (C, H, W) in [0, 1], got {image.dtype}; for uint8, divide by 255"
        )
    raise TypeError(
        f"image must be a PIL image, a NumPy array or a tensor, got {type(image).__name__}; read files with read_image"
    )


def _from_uint8(pixels: np.ndarray[Any, Any]) -> Tensor:
    shape = pixels.shape
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        hint = _shape_hint(shape, shape[0], "move the channels to the end", "[..., None]")
        raise ValueError(f"uint8 image array must have shape (H, W), (H, W, 1) or (H, W, 3), got {shape}{hint}")
    if pixels.size == 0:
        raise ValueError(f"image must have pixels, got shape {shape}")
    # Into new memory, since the tensor must not change when the caller's array does, and without a copy in between.
    result = torch.empty(pixels.shape[2], *pixels.shape[:2], dtype=torch.float32)
    np.divide(pixels.transpose(2, 0, 1), np.float32(255), out=result.numpy(), dtype=np.float32)
    return result


def _shape_hint(shape: tuple[int, ...], other_side: int, remedy: str, channel: str) -> str:
    """Advice for three dimensions: channels at the other side, or several gray images."""
    if len(shape) != 3:
        return ""
    return f"; {remedy}" if other_side in (1, 3) else f"; if it is a batch of gray images, pass images{channel}"


def _from_floats(pixels: Tensor) -> Tensor:
    shape = tuple(pixels.shape)
    if pixels.ndim != 3 or shape[0] not in (1, 3):
        hint = _shape_hint(shape, shape[-1], "move the channels to the front", "[:, None]")
        raise ValueError(f"floating-point image must have shape (1, H, W) or (3, H, W), got {shape}{hint}")
    if pixels.numel() == 0:
        raise ValueError(f"image must have pixels, got shape {shape}")
    if not torch.isfinite(pixels).all():
        raise ValueError("image must be finite, got NaN or infinity")
    low, high = (value.item() for value in pixels.detach().aminmax())
    if low < 0 or high > 1:
        raise ValueError(f"floating-point image must lie in [0, 1], got {low:g} to {high:g}; rescale or clamp it")
    return pixels
