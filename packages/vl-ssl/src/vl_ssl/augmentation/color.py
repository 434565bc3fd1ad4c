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


def scale_brightness_(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply each image by its factor, in place; a factor of 1 changes nothing."""
    return images.mul_(_columns(factors)).clamp_(0, 1)


def scale_contrast_(images: Tensor, factors: Tensor) -> Tensor:
    """Move each image away from its mean luminance, or towards it, in place; a factor of 1 changes nothing."""
    # In float64, so that the mean does not depend on how a batch of this size is summed.
    mean = luminance(images).mean(dim=(1, 2, 3), dtype=torch.float64).to(images.dtype)
    return images.mul_(_columns(factors)).add_(_columns((1 - factors) * mean)).clamp_(0, 1)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Move each of three channels away from the luminance, or towards it."""
    return _blend(images, luminance(images), factors)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of three channels by a share of the circle, saturation and value (of HSV) kept."""
    red, green, blue = images.unbind(1)
    value, least = torch.maximum(torch.maximum(red, green), blue), torch.minimum(torch.minimum(red, green), blue)
    chroma = value - least
    divisor = chroma.masked_fill(chroma == 0, 1)
    # Sixths of the circle, from red; the brightest channel says which third it is.
    sixths = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths = (sixths + 6 * turns[:, None, None]) % 6
    # How far each channel lies below the value, in parts of the chroma: 0 near its own hue, 1 opposite of it.
    red_gap = (sixths - 3).abs_().neg_().add_(2).clamp_(0, 1)
    green_gap, blue_gap = ((sixths - center).abs_().sub_(1).clamp_(0, 1) for center in (2, 4))
    gaps = torch.stack((red_gap, green_gap, blue_gap), dim=1)
    return torch.addcmul(value[:, None], gaps, chroma[:, None], value=-1).clamp_(0, 1)


def solarize(images: Tensor, threshold: float) -> Tensor:
    """Invert the pixels from the threshold up."""
    return torch.where(images >= threshold, 1 - images, images)


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    ratio = _columns(factors)
    return (ratio * images + (1 - ratio) * other).clamp(0, 1)


def _columns(factors: Tensor) -> Tensor:
    return factors[:, None, None, None]
