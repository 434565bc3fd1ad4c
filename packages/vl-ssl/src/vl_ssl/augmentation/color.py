"""Color operations on a batch with a factor for each image; images ``(B, C, H, W)`` in [0, 1], factors ``(B,)``.

The definitions are torchvision's (``torchvision.transforms.v2.functional``), which follow Pillow's.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LUMA = (0.2989, 0.587, 0.114)


def luminance(images: Tensor) -> Tensor:
    """One channel ``(B, 1, H, W)``: ITU-R BT.601 of three channels, the mean of any other number."""
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    red, green, blue = images.unbind(1)
    return (red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2])[:, None]


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply each image by its factor."""
    return (images * _columns(factors)).clamp(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Move each image away from its mean luminance, or towards it."""
    # In float64, so that the mean does not depend on how a batch of this size is summed.
    mean = luminance(images).mean(dim=(1, 2, 3), dtype=torch.float64, keepdim=True).to(images.dtype)
    return _blend(images, mean, factors)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Move each of three channels away from the luminance, or towards it."""
    return _blend(images, luminance(images), factors)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of three channels by a share of the circle, saturation and value (of HSV) kept."""
    red, green, blue = images.unbind(1)
    value, chroma = images.amax(dim=1), images.amax(dim=1) - images.amin(dim=1)
    divisor = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    # Sixths of the circle, from red; the brightest channel says which third it is.
    sixths = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths = sixths + 6 * turns[:, None, None]
    channels = []
    for offset in (5, 3, 1):
        place = (sixths + offset) % 6
        channels.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, dim=1).clamp(0, 1)


def solarize(images: Tensor, threshold: float) -> Tensor:
    """Invert the pixels from the threshold up."""
    return torch.where(images >= threshold, 1 - images, images)


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    ratio = _columns(factors)
    return (ratio * images + (1 - ratio) * other).clamp(0, 1)


def _columns(factors: Tensor) -> Tensor:
    return factors[:, None, None, None]
