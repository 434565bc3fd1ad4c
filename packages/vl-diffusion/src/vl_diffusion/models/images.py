"""Bring images of any size to the size and the number of channels that a model was trained on."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from vl_core.data import image_to_tensor

# ITU-R BT.601, what Pillow's convert("L") uses.
_LUMA = (0.299, 0.587, 0.114)

# Longest side that is scaled as a whole, in shorter ones: a strip of one pixel would become gigabytes.
_LONGEST = 8


def to_tensor(image: Any) -> Tensor:
    """One image of any kind that the package takes, as float32 ``(1 or 3, H, W)`` in [0, 1] on the CPU."""
    return image_to_tensor(image).detach().cpu()


def fit(image: Tensor, size: int, channels: int) -> Tensor:
    """Scale the shorter side to `size` (bicubic, antialiased), cut out the center, and match the channels.

    Args:
        image: ``(C, H, W)`` in [0, 1] with 1 or 3 channels.
        size: Height and width wanted, in pixels.
        channels: 1 (luminance) or 3 (gray is repeated).

    Returns:
        ``(channels, size, size)`` in [0, 1]; the very same values if nothing had to change.
    """
    image = _middle(image, size)
    _, height, width = image.shape
    scale = size / min(height, width)
    target = (max(size, round(height * scale)), max(size, round(width * scale)))
    if target != (height, width):
        image = F.interpolate(image[None], target, mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    image = image[:, top : top + size, left : left + size]
    if image.shape[0] == 3 and channels == 1:
        weights = torch.tensor(_LUMA, dtype=image.dtype).view(3, 1, 1)
        # Equal channels stay what they are: the weights' sum is rounded.
        gray = image[:1] if bool((image[:1] == image).all()) else (image * weights).sum(0, keepdim=True)
        return gray.contiguous()
    return image.expand(channels, -1, -1).contiguous()


def _middle(image: Tensor, size: int) -> Tensor:
    """All of an ordinary image; of a strip, the square that `fit` cuts out and more than its filter sees beside it.

    The same is cut off at both ends, and in the scaled image it is whole pixels: the square stays where it was.
    """
    _, height, width = image.shape
    shorter = min(height, width)
    whole = shorter // math.gcd(shorter, size)
    top, left = (max(0, side - _LONGEST * shorter) // 2 // whole * whole for side in (height, width))
    return image[:, top : height - top, left : width - left]


def content_id(image: Tensor) -> int:
    """A number that depends on the pixels alone, so that noise follows the image and not its place in a list.

    Returns:
        A signed 64-bit integer: BLAKE2b of the shape and the float32 values.
    """
    values = np.ascontiguousarray(image.float().numpy(), dtype="<f4")
    digest = hashlib.blake2b(repr(values.shape).encode() + values.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
