"""Crop, resize and flip of a batch with a box for each image, as two matrix products.

Resizing is linear and separable: a view is ``R @ image @ C.T`` with one matrix for the rows and one for the columns,
which hold the triangle filter of bilinear interpolation, widened where the image shrinks (antialiasing), and normalized
within the crop. That is what torchvision's ``resized_crop`` computes for one image.
"""

from __future__ import annotations

import torch
from torch import Tensor


def crop_and_flip(images: Tensor, size: int, *, box: tuple[Tensor, Tensor, Tensor, Tensor], flip: Tensor) -> Tensor:
    """Crops of images, resized to a square, some of them flipped.

    Args:
        images: ``(B, C, H, W)``, floating.
        size: Height and width of the result in pixels.
        box: First row, first column, rows and columns of each crop, ``(B,)`` int64 each.
        flip: Views to flip horizontally, ``(B,)`` bool.

    Returns:
        ``(B, C, size, size)``.
    """
    top, left, height, width = box
    rows = resize_weights(top, height, images.shape[2], size).to(images.dtype)
    columns = resize_weights(left, width, images.shape[3], size, flip=flip).to(images.dtype)
    narrow = images.flatten(1, 2) @ columns.mT
    return rows[:, None] @ narrow.view(*images.shape[:3], size)


def resize_weights(start: Tensor, length: Tensor, full: int, size: int, *, flip: Tensor | None = None) -> Tensor:
    """Weights ``(B, size, full)`` of each pixel of a line in each pixel of its resized part.

    Args:
        start: First pixel of the part, ``(B,)`` int64.
        length: Pixels of the part, ``(B,)`` int64.
        full: Pixels of the whole line.
        size: Pixels of the resized part.
        flip: Lines to reverse, ``(B,)`` bool; none by default.

    Returns:
        float32; each row sums to one, and pixels outside of the part have weight zero.
    """
    scale = (length.float() / size)[:, None, None]
    places = torch.arange(size, device=start.device)[:, None]
    if flip is not None:
        places = torch.where(flip[:, None, None], size - 1 - places, places)
    centers = (places + 0.5) * scale - 0.5
    pixels = (torch.arange(full, device=start.device) - start[:, None])[:, None]
    inside = (pixels >= 0) & (pixels < length[:, None, None])
    weights = (pixels - centers).abs_().div_(-scale.clamp(min=1)).add_(1).clamp_(min=0).mul_(inside)
    return weights.div_(weights.sum(dim=2, keepdim=True))
