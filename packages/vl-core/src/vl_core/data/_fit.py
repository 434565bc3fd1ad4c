"""Resize, crop and recolor an image to what a model takes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# ITU-R BT.601, what Pillow's convert("L") uses.
_LUMA = (0.299, 0.587, 0.114)

# Largest aspect ratio that is resized as a whole.
_LONGEST = 8


def fit_image(image: Tensor, size: int, channels: int, crop: int | None = None) -> Tensor:
    """Resize the shorter side to `size` (bicubic, antialiased), crop the center, and convert the channels.

    Sizes and offsets are those of torchvision's ``Resize(size)`` and ``CenterCrop(crop)``, which the published
    evaluations use: the longer side is truncated to whole pixels, and an odd margin is split by Python's `round`.

    Args:
        image: ``(C, H, W)`` in [0, 1] with 1 or 3 channels.
        size: Target of the shorter side, in pixels.
        channels: 1 (luminance) or 3 (gray is repeated).
        crop: Height and width of the center crop, at most `size`; by default `size`.

    Returns:
        ``(channels, crop, crop)`` in [0, 1]; the same values if size and channels already match.

    Example:
        >>> fit_image(torch.zeros(1, 10, 30), 20, channels=3).shape
        torch.Size([3, 20, 20])
    """
    crop = size if crop is None else crop
    _, height, width = image.shape
    shorter, longer = min(height, width), max(height, width)
    if longer > _LONGEST * shorter:
        image = _center_of_strip(image, size, crop)
    elif shorter != size:
        target = (size * height // shorter, size * width // shorter)
        image = F.interpolate(image[None], target, mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)
    top, left = (_margin(side, crop) for side in image.shape[1:])
    image = image[:, top : top + crop, left : left + crop]
    if image.shape[0] == 3 and channels == 1:
        weights = torch.tensor(_LUMA, dtype=image.dtype).view(3, 1, 1)
        # Keep equal channels exactly: the sum of the weights is rounded.
        gray = image[:1] if bool((image[:1] == image).all()) else (image * weights).sum(0, keepdim=True)
        return gray.contiguous()
    return image.expand(channels, -1, -1).contiguous()


def _margin(side: int, crop: int) -> int:
    """Offset of a center crop."""
    return round((side - crop) / 2)


def _center_of_strip(image: Tensor, size: int, crop: int) -> Tensor:
    """The center of a resized strip, cropped along its longer side, without the rest: a strip could take gigabytes.

    Bicubic filtering is separable, so the longer side is sampled at the pixels of the crop alone.
    """
    if image.shape[1] > image.shape[2]:
        return _center_of_strip(image.mT, size, crop).mT
    _, shorter, longer = image.shape
    target = size * longer // shorter
    # Pixels per pixel of the result, and the centers of those, in pixels of the image.
    scale = longer / target
    centers = (torch.arange(crop, dtype=torch.float64) + _margin(target, crop) + 0.5) * scale
    # Antialiasing widens the filter where the image shrinks.
    stretch = max(scale, 1.0)
    first, last = max(0, int(centers[0] - 2 * stretch)), min(longer, int(centers[-1] + 2 * stretch) + 1)
    offsets = (torch.arange(first, last, dtype=torch.float64) + 0.5 - centers[:, None]) / stretch
    weights = _cubic(offsets)
    weights = (weights / weights.sum(1, keepdim=True)).to(image)
    sampled = image[:, :, first:last] @ weights.T
    if shorter != size:
        sampled = F.interpolate(sampled[None], (size, crop), mode="bicubic", antialias=True, align_corners=False)[0]
    return sampled.clamp(0, 1)


def _cubic(x: Tensor) -> Tensor:
    """Keys's cubic filter with ``a = -0.5``, as Pillow and the antialiased `interpolate` have it; zero beyond 2."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
