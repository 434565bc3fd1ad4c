"""Convert images of any size to the resolution and number of channels of a model."""

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

# Largest aspect ratio that is resized as a whole: a strip of one pixel would take gigabytes.
_LONGEST = 8


def to_tensor(image: Any) -> Tensor:
    """Convert an image of any supported type to float32 ``(1 or 3, H, W)`` in [0, 1] on the CPU."""
    return image_to_tensor(image).detach().cpu()


def fit(image: Tensor, size: int, channels: int) -> Tensor:
    """Resize the shorter side to `size` (bicubic, antialiased), crop the center, and convert the channels.

    Args:
        image: ``(C, H, W)`` in [0, 1] with 1 or 3 channels.
        size: Target height and width, in pixels.
        channels: 1 (luminance) or 3 (gray is repeated).

    Returns:
        ``(channels, size, size)`` in [0, 1]; the same values if size and channels already match.
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
        # Keep equal channels exactly: the sum of the weights is rounded.
        gray = image[:1] if bool((image[:1] == image).all()) else (image * weights).sum(0, keepdim=True)
        return gray.contiguous()
    return image.expand(channels, -1, -1).contiguous()


def _middle(image: Tensor, size: int) -> Tensor:
    """Crop extreme aspect ratios to the center square and a margin beyond the support of the resize filter.

    Both ends are cropped equally, by whole pixels of the resized image, so that the center square does not move.
    """
    _, height, width = image.shape
    shorter = min(height, width)
    whole = shorter // math.gcd(shorter, size)
    top, left = (max(0, side - _LONGEST * shorter) // 2 // whole * whole for side in (height, width))
    return image[:, top : height - top, left : width - left]


def content_id(image: Tensor) -> int:
    """Hash of the pixels, so that the noise depends on the image and not on its index.

    Returns:
        A signed 64-bit integer, BLAKE2b of the shape and the float32 values.
    """
    values = np.ascontiguousarray(image.float().numpy(), dtype="<f4")
    digest = hashlib.blake2b(repr(values.shape).encode() + values.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
