"""Views of a whole batch at once, each image with parameters of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from vl_ssl.augmentation.blur import gaussian_blur
from vl_ssl.augmentation.color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    luminance,
    solarize,
)
from vl_ssl.augmentation.draws import ViewDraws, draw
from vl_ssl.augmentation.geometry import crop_and_flip
from vl_ssl.augmentation.view import View

_PARTS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    adjust_hue,
)


def batch_view(view: View, images: Tensor, positions: Tensor, *, seed: int, number: int) -> Tensor:
    """One view of each image: `vl_ssl.augmentation.recipes.Augmentation.batched` explains the arguments."""
    images = float_images(images)
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise ValueError(f"images must have shape (B, C, H, W), got {tuple(images.shape)}")
    positions = torch.as_tensor(positions)
    if positions.shape != images.shape[:1]:
        raise ValueError(
            f"positions must have shape ({len(images)},), one for each image, got {tuple(positions.shape)}"
        )
    height, width = images.shape[2:]
    draws = draw(view, positions.to(images.device), seed=seed, number=number, height=height, width=width)
    return apply(view, images, draws)


@torch.no_grad()
def apply(view: View, images: Tensor, draws: ViewDraws) -> Tensor:
    """Views ``(B, C, size, size)`` of images ``(B, C, H, W)`` with drawn parameters."""
    box = (draws.top, draws.left, draws.height, draws.width)
    views = crop_and_flip(images, view.size, box=box, flip=draws.flip)
    color = images.shape[1] == 3
    parts = _PARTS if color else _PARTS[:2]
    # The order of the parts that there are, one a column.
    order = draws.order[draws.order < len(parts)].view(-1, len(parts))
    order = order.masked_fill(~draws.jitter[:, None], -1)
    for place in range(len(parts)):
        for part, adjust in enumerate(parts):
            _change(views, order[:, place] == part, adjust, draws.factors[:, part])
    if color:
        _change(views, draws.gray, lambda x, _: luminance(x).expand_as(x), draws.sigma)
    _change(views, draws.blur, partial(gaussian_blur, radius=view.blur_radius), draws.sigma)
    _change(views, draws.solarize, lambda x, _: solarize(x, view.solarize_threshold), draws.sigma)
    return views


def _change(views: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor], values: Tensor) -> None:
    """Replace the chosen views by what a function makes of them and their values."""
    rows = chosen.nonzero()[:, 0]
    if len(rows):
        views.index_copy_(0, rows, change(views.index_select(0, rows), values[rows]))


def float_images(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1], from uint8 or floating values, which are not checked to be in range.

    Raises:
        TypeError: If they are of another type.
    """
    if not isinstance(images, Tensor) or not (images.dtype == torch.uint8 or images.is_floating_point()):
        got = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images must be a tensor, uint8 or floating in [0, 1], got {got}")
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
