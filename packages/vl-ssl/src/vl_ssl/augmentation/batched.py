"""Views of a whole batch at once, each image with parameters of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from vl_ssl.augmentation.blur import gaussian_blur
from vl_ssl.augmentation.color import (
    adjust_hue,
    adjust_saturation,
    luminance,
    scale_brightness_,
    scale_contrast_,
    solarize,
)
from vl_ssl.augmentation.draws import ViewDraws, draw
from vl_ssl.augmentation.geometry import crop_and_flip
from vl_ssl.augmentation.view import View


@torch.no_grad()
def batch_view(view: View, images: Tensor, uniform: Tensor) -> Tensor:
    """One view of each image.

    Args:
        view: The distributions.
        images: ``(B, C, H, W)``, floating, in [0, 1].
        uniform: Random numbers of each image, ``(B, 36)``, of `vl_ssl.augmentation.draws.uniforms`.

    Returns:
        ``(B, C, size, size)``.
    """
    draws = draw(view, uniform, height=images.shape[2], width=images.shape[3])
    box = (draws.top, draws.left, draws.height, draws.width)
    views = crop_and_flip(images, view.size, box=box, flip=draws.flip)
    color = images.shape[1] == 3
    if view.jitter:
        _jitter(views, draws, color=color)
    if color:
        _change(views, draws.gray, lambda x, _: luminance(x).expand_as(x), draws.sigma)
    _change(views, draws.blur, partial(gaussian_blur, radius=view.blur_radius), draws.sigma)
    _change(views, draws.solarize, lambda x, _: solarize(x, view.solarize_threshold), draws.sigma)
    return views


def _jitter(views: Tensor, draws: ViewDraws, *, color: bool) -> None:
    """Apply the parts of the jitter in place, each image's in its order."""
    count = 4 if color else 2
    # The order of the parts that there are, one a column.
    order = draws.order[draws.order < count].view(-1, count)
    for place in range(count):
        chosen = [draws.jitter & (order[:, place] == part) for part in range(count)]
        # A factor of one changes nothing, and two passes over all views cost less than picking some.
        ones = torch.ones_like(draws.factors[:, 0])
        brightness, contrast = (torch.where(chosen[part], draws.factors[:, part], ones) for part in (0, 1))
        scale_brightness_(views, brightness)
        scale_contrast_(views, contrast)
        for part, adjust in ((2, adjust_saturation), (3, adjust_hue)) if color else ():
            _change(views, chosen[part], adjust, draws.factors[:, part])


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
