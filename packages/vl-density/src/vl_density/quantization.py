"""Images as integer levels, and log-densities as bits per dimension.

A density over images with `levels` gray values is a distribution over integers 0..levels - 1; public functions take
images in [0, 1] on the grid k / (levels - 1), as 8-bit files have them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TOLERANCE = 0.02
"""Distance from the grid, in levels, that rounding in half precision may bring at 256 levels."""


def quantize(images: Tensor, levels: int = 256) -> Tensor:
    """Round images to the grid of `levels` gray values; every value of an 8-bit image has its share.

    Args:
        images: Floating point in [0, 1], any shape.
        levels: Number of gray values, 2 to 256.

    Returns:
        The same shape and dtype, with values k / (levels - 1).

    Raises:
        ValueError: If values lie outside [0, 1] or are not finite, or `levels` does.

    Example:
        >>> quantize(torch.tensor([0.0, 0.4, 0.6, 1.0]), levels=2).tolist()
        [0.0, 0.0, 1.0, 1.0]
    """
    _check_levels(levels)
    _check_range(images)
    return (images * levels).floor().clamp(max=levels - 1) / (levels - 1)


def to_levels(images: Tensor, levels: int) -> Tensor:
    """Integer levels of images that lie on the grid.

    Args:
        images: Floating point in [0, 1] on the grid k / (levels - 1), any shape.
        levels: Number of gray values.

    Returns:
        int64, the same shape.

    Raises:
        ValueError: If a value lies outside [0, 1] or off the grid.
    """
    _check_range(images)
    scaled = images * (levels - 1)
    nearest = scaled.round()
    off = (scaled - nearest).abs() > _TOLERANCE
    if off.any():
        raise ValueError(
            f"images must lie on the grid k / {levels - 1} of {levels} levels, got {images[off][0].item():.6g}; call "
            f"vl_density.quantize(images, levels={levels}) if they were resized, and add no noise"
        )
    return nearest.long()


def from_levels(levels: Tensor, count: int) -> Tensor:
    """Images in [0, 1], float32, of integer levels 0..count - 1."""
    return levels.to(torch.float32) / (count - 1)


def dequantize(images: Tensor, levels: int = 256, *, generator: torch.Generator | None = None) -> Tensor:
    """Add uniform noise of one level, for densities of real numbers such as flows.

    The density of the result bounds the probability of the image from below (Theis et al., 2016, section 3.1);
    `bits_per_dim(..., dequantized_levels=levels)` takes it into account.

    Args:
        images: On the grid k / (levels - 1), so without noise.
        levels: Number of gray values.
        generator: Source of the noise, on the images' device.

    Returns:
        Values (k + u) / levels in [0, 1), the same shape and dtype.

    Raises:
        ValueError: If values lie off the grid, as those to which noise was added before.
    """
    whole = to_levels(images, levels).to(images.dtype)
    noise = torch.rand(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return ((whole + noise) / levels).clamp(max=1 - torch.finfo(images.dtype).eps)


def bits_per_dim(log_prob: Tensor, dimensions: int, *, dequantized_levels: int | None = None) -> Tensor:
    """Negative log-likelihood in bits per dimension.

    Args:
        log_prob: In nats, any shape: log-probabilities of integer levels, as the models here give them, or
            log-densities of dequantized images in [0, 1].
        dimensions: Values an image: channels times height times width.
        dequantized_levels: None for log-probabilities; for log-densities of what `dequantize` returned, its `levels`,
            whose logarithm is added, since each level has an interval of width 1 / levels.

    Returns:
        The same shape.

    Raises:
        ValueError: If `dimensions` is not positive.

    Example:
        >>> uniform = torch.tensor(-784 * math.log(256))
        >>> bits_per_dim(uniform, 784).item()
        8.0
    """
    if dimensions < 1:
        raise ValueError(f"dimensions must be at least 1, got {dimensions}; it is channels times height times width")
    bits = -log_prob / (dimensions * math.log(2))
    return bits if dequantized_levels is None else bits + math.log2(dequantized_levels)


def _check_levels(levels: int) -> None:
    if not 2 <= levels <= 256:
        raise ValueError(f"levels must lie between 2 and 256, got {levels}")


def _check_range(images: Tensor) -> None:
    if not images.is_floating_point():
        raise ValueError(f"images must be floating point in [0, 1], got {images.dtype}; divide uint8 by 255")
    if images.numel() and not bool(((images >= 0) & (images <= 1)).all()):  # NaN fails, too
        worst = images[~((images >= 0) & (images <= 1))][0].item()
        raise ValueError(f"images must lie in [0, 1] and be finite, got {worst:.6g}; divide 8-bit values by 255")
