"""Views of one image by torchvision, for the workers of a data loader."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F
from vl_core.data import image_to_tensor

from vl_ssl.augmentation.batched import float_images
from vl_ssl.augmentation.color import scale_brightness_, scale_contrast_, solarize
from vl_ssl.augmentation.draws import draw
from vl_ssl.augmentation.view import View


def image_view(view: View, image: Tensor, uniform: Tensor) -> Tensor:
    """One view ``(C, size, size)`` of an image ``(C, H, W)``, by the functions of torchvision's v2 transforms.

    From the same numbers ``(36,)``, `batch_view` gives the same view up to rounding.
    """
    channels, height, width = image.shape
    draws = draw(view, uniform[None], height=height, width=width)
    box = [int(part) for part in (draws.top, draws.left, draws.height, draws.width)]
    out: Tensor = F.resized_crop(
        image, *box, [view.size, view.size], interpolation=InterpolationMode.BILINEAR, antialias=True
    )
    if draws.flip:
        out = F.horizontal_flip(out)
    if draws.jitter:
        out = _jitter(out, draws.order[0].tolist(), draws.factors[0].tolist())
    if draws.gray and channels == 3:
        out = F.rgb_to_grayscale(out, num_output_channels=3)
    if draws.blur:
        sigma = float(draws.sigma)
        out = F.gaussian_blur(out, [2 * view.blur_radius + 1] * 2, [sigma, sigma])
    return solarize(out, view.solarize_threshold) if draws.solarize else out


def _jitter(image: Tensor, order: list[int], factors: list[float]) -> Tensor:
    for part in order:
        if part < 2 and len(image) not in (1, 3):
            # torchvision knows one channel and three.
            own = (scale_brightness_, scale_contrast_)[part]
            image = own(image[None].clone(), torch.tensor(factors[part : part + 1]))[0]
        elif part == 0:
            image = F.adjust_brightness(image, factors[0])
        elif part == 1:
            image = F.adjust_contrast(image, factors[1])
        elif part == 2 and len(image) == 3:
            image = F.adjust_saturation(image, factors[2])
        elif part == 3 and len(image) == 3:
            image = F.adjust_hue(image, factors[3])
    return image


def view_tensor(image: Any) -> Tensor:
    """An image as float32 ``(C, H, W)`` in [0, 1]: a PIL image, an array ``(H, W[, C])``, or a tensor ``(C, H, W)``.

    Raises:
        TypeError: If it is none of these, or of another type than uint8 and floating.
        ValueError: If it has another number of dimensions.
    """
    if isinstance(image, Image.Image | np.ndarray):
        return image_to_tensor(image)
    pixels = float_images(image)
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(f"image must have shape (C, H, W), got {tuple(pixels.shape)}")
    return pixels
