"""Gaussian blur of a batch with a standard deviation for each image."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_blur(images: Tensor, sigma: Tensor, *, radius: int) -> Tensor:
    """Convolve each image with a Gaussian of its own deviation, sampled at whole pixels and normalized.

    Borders are reflected without repeating the edge. Rows and columns are convolved in turn.

    Args:
        images: ``(B, C, H, W)``, floating.
        sigma: Standard deviation of each image's blur in pixels, ``(B,)``, above zero.
        radius: Pixels that the kernel reaches to either side, below the images' height and width.

    Raises:
        ValueError: If the kernel reaches over a whole image.

    Example:
        >>> line = torch.zeros(1, 1, 5, 5).index_fill(2, torch.tensor(2), 1.0)
        >>> [round(value, 3) for value in gaussian_blur(line, torch.tensor([0.5]), radius=1)[0, 0, :, 0].tolist()]
        [0.0, 0.107, 0.787, 0.107, 0.0]
    """
    if not 0 <= radius < min(images.shape[2:]):
        raise ValueError(
            f"radius must be at least 0 and below the {min(images.shape[2:])} pixels of the images, got {radius}"
        )
    offsets = torch.arange(radius + 1, device=images.device)
    weights = (-0.5 * (offsets / sigma.double()[:, None]).square()).exp()
    weights = (weights / (2 * weights.sum(dim=1, keepdim=True) - weights[:, :1])).to(images.dtype)
    height, width = images.shape[2:]
    columns = _matrices(weights, width)
    rows = columns if height == width else _matrices(weights, height)
    return rows[:, None] @ (images.flatten(1, 2) @ columns.mT).view_as(images)


def _matrices(weights: Tensor, length: int) -> Tensor:
    """Convolution of a line by each kernel as matrices ``(B, length, length)``; ``weights`` ``(B, R + 1)`` are half."""
    pixels = torch.arange(length, device=weights.device)
    result = torch.diag_embed(weights[:, :1].expand(-1, length))
    for offset in range(1, weights.shape[1]):
        taps = result.new_zeros(length, length)
        for side in (pixels - offset, pixels + offset):
            # Reflected at the first and at the last pixel.
            taps[pixels, (length - 1) - ((length - 1) - side.abs()).abs()] += 1
        result.addcmul_(taps, weights[:, offset, None, None])
    return result
