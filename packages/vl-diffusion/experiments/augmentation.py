"""Augmentation of training images: dim, hazy, blurred, coarse, noisy, slightly rotated.

For training on more than clean images. Kinds and strengths are drawn at random and combined. Gaussian noise is
one of `vl_core.corruptions` as well, and several others are close to some of those.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Change = Callable[[Tensor, torch.Generator], Tensor]
"""Changes images ``(B, C, H, W)`` in [0, 1], each with its own strength."""


def augmented(
    images: Tensor, generator: torch.Generator, *, clean_share: float = 0.25, in_place: bool = False
) -> Tensor:
    """Change most images in one to three ways.

    Args:
        images: float32 ``(B, C, H, W)`` in [0, 1].
        generator: Source of all randomness.
        clean_share: Share of the images that stay unchanged.
        in_place: Skip geometric changes, so that maps of the image stay valid.
    """
    batch, changes = len(images), [change for change in CHANGES if not (in_place and change is warp)]
    stays = torch.rand(batch, generator=generator) < clean_share
    count = torch.randint(1, 4, (batch,), generator=generator)
    # Each image's own choice of changes, applied in the order in which light, lens and sensor would.
    chosen = torch.rand(batch, len(changes), generator=generator).argsort(1).argsort(1) < count[:, None]
    changed = images
    for place, change in enumerate(changes):
        applies = chosen[:, place] & ~stays
        changed = torch.where(applies.view(-1, 1, 1, 1), change(changed, generator).clamp(0, 1), changed)
    return changed


def warp(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate by up to 8 degrees, scale by up to an eighth, and distort by a smooth field of up to a pixel."""
    batch, _, height, width = images.shape
    angle = _uniform(batch, -0.14, 0.14, generator)
    scale = _uniform(batch, 0.88, 1.12, generator)
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    still = torch.zeros(batch)
    turn = torch.stack([torch.stack([cosine, -sine, still], 1), torch.stack([sine, cosine, still], 1)], 1)
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    bend = torch.stack([_field(batch, height, width, generator) for _ in range(2)], -1) * (2 / width)
    return F.grid_sample(images, grid + bend, padding_mode="border", align_corners=False)


def haze(images: Tensor, generator: torch.Generator) -> Tensor:
    """Add a smooth bright field to each image, and rescale the sum to [0, 1]."""
    batch, _, height, width = images.shape
    strength = _uniform(batch, 0.1, 1.5, generator).view(-1, 1, 1, 1)
    field = (_field(batch, height, width, generator)[:, None] + 1) / 2
    return (images + strength * field) / (1 + strength)


def exposure(images: Tensor, generator: torch.Generator) -> Tensor:
    """Reduce the range of brightness to between a tenth and all of it, at any offset."""
    batch = len(images)
    extent = _uniform(batch, 0.1, 1.0, generator).view(-1, 1, 1, 1)
    lift = torch.rand(batch, 1, 1, 1, generator=generator)
    # Some images are overexposed: too bright values are clipped.
    over = torch.where(torch.rand(batch, 1, 1, 1, generator=generator) < 0.3, 0.4 * lift, 0.0)
    return images * extent + lift * (1 - extent) + over


def blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur with an anisotropic Gaussian, of random width in each of two directions."""
    batch, channels, _, _ = images.shape
    reach = torch.arange(-4, 5, dtype=torch.float32)
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    angle = _uniform(batch, 0, math.pi, generator).view(-1, 1, 1)
    widths = [_uniform(batch, 0.3, 2.0, generator).view(-1, 1, 1) for _ in range(2)]
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    kernel = torch.exp(-0.5 * ((along / widths[0]) ** 2 + (across / widths[1]) ** 2))
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    padded = F.pad(images, (4, 4, 4, 4), mode="replicate")
    filters = kernel[:, None].expand(batch, channels, 9, 9).reshape(batch * channels, 1, 9, 9)
    blurred = F.conv2d(padded.reshape(1, batch * channels, *padded.shape[2:]), filters, groups=batch * channels)
    return blurred.view_as(images)


def coarsen(images: Tensor, generator: torch.Generator) -> Tensor:
    """Downsample, by one factor for the whole batch, and upsample again, by nearest neighbor or bilinearly."""
    height, width = images.shape[2:]
    share = float(_uniform(1, 0.35, 0.9, generator))
    small = F.interpolate(images, (max(2, round(height * share)), max(2, round(width * share))), mode="area")
    if torch.rand((), generator=generator) < 0.5:
        return F.interpolate(small, (height, width), mode="nearest")
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def sensor_noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise, in some images stronger and at a share of the pixels only."""
    batch = len(images)
    spread = _uniform(batch, 0.02, 0.35, generator).view(-1, 1, 1, 1)
    sparse = torch.rand(batch, 1, 1, 1, generator=generator) < 0.3
    hit = torch.rand(images.shape, generator=generator) < torch.where(sparse, 0.2, 1.0)
    noise = torch.randn(images.shape, generator=generator) * torch.where(sparse, 3 * spread, spread)
    return images + hit * noise


CHANGES: tuple[Change, ...] = (warp, haze, exposure, blur, coarsen, sensor_noise)
"""In the order in which they are applied."""


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _field(batch: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw smooth fields ``(B, H, W)`` in [-1, 1]: plane waves of random direction, weaker for shorter waves."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    waves = 6
    frequency = _uniform(batch * waves, 0.5, 4.0, generator).view(batch, waves, 1, 1)
    angle = _uniform(batch * waves, 0, 2 * math.pi, generator).view(batch, waves, 1, 1)
    phase = _uniform(batch * waves, 0, 2 * math.pi, generator).view(batch, waves, 1, 1)
    wave = torch.cos(2 * math.pi * frequency * (x * angle.cos() + y * angle.sin()) + phase) / frequency
    field = wave.sum(1)
    return field / field.abs().amax((1, 2), keepdim=True)
