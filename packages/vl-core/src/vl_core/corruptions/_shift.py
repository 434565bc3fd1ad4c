"""Photometric and geometric shifts of images in five severities, with strengths of our own.

The kinds follow ImageNet-C (Hendrycks & Dietterich, 2019, arXiv 1903.12261) and add geometry; the strengths do not
follow it, so accuracies under them compare with each other and not with that benchmark's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from vl_core._extras import import_extra
from vl_core.corruptions._functions import SHIFT_NAMES
from vl_core.data import checked_ids, image_batch

Shift: TypeAlias = Callable[[Tensor, int, torch.Generator], Tensor]
"""A function from an image ``(C, H, W)`` in [0, 1], a severity from 1 to 5 and a generator on the CPU to an image."""


def shift(
    images: Any,
    name: str,
    severity: int,
    *,
    seed: int = 0,
    image_ids: Sequence[int] | None = None,
    function: Shift | None = None,
) -> Tensor:
    """Shift images by one of `SHIFTS`, or by your own function, at one of five severities.

    Random numbers depend on ``seed``, ``name`` and the image's id, not on the batch. Severities of one shift draw the
    same numbers, so an image is rotated the same way, only further. Needs the extra ``vl-core[corruptions]``.

    Args:
        images: ``(B, C, H, W)`` in [0, 1], floating point, of one or three channels; or one image or a sequence of
            images, all of one size, see `vl_core.data.image_batch`.
        name: One of `SHIFTS`; with ``function``, any name: random numbers are drawn by it.
        severity: 1 to 5; 0 changes nothing.
        seed: Any integer.
        image_ids: An integer (64 bits, signed) for each image; default: 0, 1, 2, ... To shift a data set in batches,
            pass the images' indices in it.
        function: A function to apply instead of the one in `SHIFTS`.

    Returns:
        ``(B, C, H, W)`` in [0, 1], of the dtype and device of ``images`` where that is such a tensor, otherwise
        float32 on the CPU.

    Raises:
        TypeError: If an image is of no known kind, or an id is no integer.
        ValueError: If the name or the severity is unknown, an image is refused by `vl_core.data.image_batch`, or a
            function changes an image's shape.

    Example:
        >>> shift(torch.ones(1, 1, 50, 50), "occlusion", 5).mean().item() < 1
        True
    """
    batch = image_batch(images)
    if isinstance(severity, bool) or severity not in range(6):
        raise ValueError(f"severity must be a whole number from 0 (unchanged) to 5, got {severity!r}")
    if function is None and name not in SHIFTS:
        raise ValueError(f"name must be one of {', '.join(SHIFTS)}, got {name!r}; pass function= for your own shift")
    ids = range(len(batch)) if image_ids is None else checked_ids(image_ids, len(batch))
    if severity == 0:
        return batch.clone()
    function = SHIFTS[name] if function is None else function
    shifted = [
        function(image, severity, _generator(seed, i, name)).clamp(0, 1) for image, i in zip(batch, ids, strict=True)
    ]
    if any(result.shape != batch.shape[1:] for result in shifted):
        raise ValueError(f"function of shift {name!r} must keep the shape {tuple(batch.shape[1:])} of an image")
    return torch.stack(shifted)


def _generator(seed: int, index: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{index}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def _transforms() -> Any:
    return import_extra("torchvision.transforms.v2", "corruptions")


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


def _sign(generator: torch.Generator) -> int:
    return 1 if _uniform(generator, 0, 1) < 0.5 else -1


def _gaussian_noise(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Add noise of standard deviation 0.04 to 0.3."""
    noise = torch.randn(image.shape, generator=generator).to(image)
    shifted: Tensor = image + (0.04, 0.08, 0.13, 0.2, 0.3)[severity - 1] * noise
    return shifted


def _gaussian_blur(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Blur with a standard deviation of 0.5 % to 4 % of the shorter side, so images of any size look alike."""
    sigma = (0.005, 0.01, 0.015, 0.025, 0.04)[severity - 1] * min(image.shape[-2:])
    sigma = max(sigma, 0.2 * severity)
    # Reflection at the border needs a kernel that reaches less far than the image.
    reach = min(int(3 * sigma + 1), min(image.shape[-2:]) - 1)
    shifted: Tensor = _transforms().functional.gaussian_blur(image, [2 * reach + 1] * 2, [sigma, sigma])
    return shifted


def _contrast(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Shrink differences from the mean to 0.7 to 0.1 of their size."""
    shifted: Tensor = _transforms().functional.adjust_contrast(image, (0.7, 0.5, 0.35, 0.2, 0.1)[severity - 1])
    return shifted


def _brightness(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Multiply or divide values by 1.2 to 2.5."""
    shifted: Tensor = _transforms().functional.adjust_brightness(
        image, (1.2, 1.4, 1.7, 2.0, 2.5)[severity - 1] ** _sign(generator)
    )
    return shifted


def _rotation(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Rotate by 8 to 60 degrees, to either side."""
    angle = (8, 15, 25, 40, 60)[severity - 1] * _sign(generator)
    shifted: Tensor = _transforms().functional.rotate(
        image, angle, interpolation=_transforms().InterpolationMode.BILINEAR, fill=0.5
    )
    return shifted


def _translation(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Move by 4 % to 30 % of each side, along both."""
    share = (0.04, 0.08, 0.14, 0.2, 0.3)[severity - 1]
    moves = [_sign(generator) * round(share * side) for side in (image.shape[-1], image.shape[-2])]
    shifted: Tensor = _transforms().functional.affine(
        image, angle=0.0, translate=moves, scale=1.0, shear=[0.0, 0.0], fill=0.5
    )
    return shifted


def _posterize(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Keep 5 bits to 1 bit a channel."""
    shifted: Tensor = _transforms().functional.posterize(image, 6 - severity)
    return shifted


def _pixelate(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Scale down to 0.75 to 0.2 of the sides, and back."""
    height, width = image.shape[-2:]
    share = (0.75, 0.6, 0.45, 0.3, 0.2)[severity - 1]
    small = _transforms().functional.resize(
        image, [max(1, round(share * side)) for side in (height, width)], antialias=True
    )
    shifted: Tensor = _transforms().functional.resize(
        small, [height, width], interpolation=_transforms().InterpolationMode.NEAREST
    )
    return shifted


def _occlusion(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Cover 5 % to 50 % of the image with a gray rectangle, anywhere within it."""
    height, width = image.shape[-2:]
    share = (0.05, 0.12, 0.22, 0.35, 0.5)[severity - 1] ** 0.5
    high, wide = max(1, round(share * height)), max(1, round(share * width))
    top = round(_uniform(generator, 0, 1) * (height - high))
    left = round(_uniform(generator, 0, 1) * (width - wide))
    shifted: Tensor = _transforms().functional.erase(
        image, top, left, high, wide, image.new_full((image.shape[0], 1, 1), 0.5)
    )
    return shifted


_FUNCTIONS: tuple[Shift, ...] = (
    _gaussian_noise,
    _gaussian_blur,
    _contrast,
    _brightness,
    _rotation,
    _translation,
    _posterize,
    _pixelate,
    _occlusion,
)
SHIFTS: Mapping[str, Shift] = MappingProxyType(dict(zip(SHIFT_NAMES, _FUNCTIONS, strict=True)))
"""The shifts by name; yours beside them: ``{**SHIFTS, "fog": fog}``."""
