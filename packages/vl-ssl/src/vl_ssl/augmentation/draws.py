"""Parameters of views, drawn for each image by itself: a pure function of seed, position and view.

The words are Philox's (`vl_core.noise`) under the key of (seed, position, view), so that neither the batch nor the
process nor the order that an image comes in changes its views.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from vl_core.noise import make_keys, philox

from vl_ssl.augmentation.view import View

_WORD = 0xFFFFFFFF
# Apart from the draws of noise that somebody adds to the same images under the same seed.
_FIRST_DRAW = 0x41554700
_ATTEMPTS = 10  # at a crop that lies within the image, as torchvision's RandomResizedCrop has it
_OTHERS = 16
_BLOCKS = (2 * _ATTEMPTS + _OTHERS) // 4


@dataclass(frozen=True)
class ViewDraws:
    """Parameters of one view of each of ``B`` images, tensors ``(B,)``."""

    top: Tensor
    """First row of the crop, int64."""
    left: Tensor
    """First column of the crop, int64."""
    height: Tensor
    """Rows of the crop, int64."""
    width: Tensor
    """Columns of the crop, int64."""
    flip: Tensor
    """Flipped, bool."""
    jitter: Tensor
    """Jittered, bool."""
    factors: Tensor
    """Factors of brightness, contrast and saturation, and the turn of the hue: ``(B, 4)``, float32."""
    order: Tensor
    """The four parts of the jitter in the order in which they are applied: ``(B, 4)``, int64."""
    gray: Tensor
    """Made gray, bool."""
    blur: Tensor
    """Blurred, bool."""
    sigma: Tensor
    """Standard deviation of the blur in pixels, float32."""
    solarize: Tensor
    """Solarized, bool."""


def uniforms(positions: Tensor, *, seed: int, count: int) -> Tensor:
    """Numbers in (0, 1) for each view of each image: ``(count, B, 36)``, float64.

    Args:
        positions: Position of each image in the run, ``(B,)`` int64, any values.
        seed: Of the run, ``0 <= seed < 2**31``.
        count: Views of each image.

    Raises:
        TypeError: If positions or seed are no integers.
        ValueError: If the seed is out of range.
    """
    numbers = torch.arange(_FIRST_DRAW, _FIRST_DRAW + count, device=positions.device)
    keys = make_keys(seed, positions, numbers[:, None]).flatten(0, 1)
    # The words that vl_core.noise lays out for a key.
    words = torch.stack((keys & _WORD, (keys >> 32) & _WORD), dim=-1)
    blocks = torch.arange(_BLOCKS, device=keys.device).expand(len(keys), -1)
    low, high = (word[:, None].expand(-1, _BLOCKS) for word in words[:, 1].unbind(-1))
    counter = torch.stack((blocks, torch.zeros_like(blocks), low, high), dim=-1)
    found = philox(counter, words[:, :1])
    return ((found.flatten(1).double() + 0.5) * 2.0**-32).view(count, len(positions), -1)


def draw(view: View, uniform: Tensor, *, height: int, width: int) -> ViewDraws:
    """Turn the numbers of one view of each image, ``(B, 36)``, into parameters for images of a size in pixels."""
    attempts, others = uniform[:, : 2 * _ATTEMPTS], uniform[:, 2 * _ATTEMPTS :]
    rows, columns = _crop_size(view, attempts, height, width)
    strengths = torch.tensor([view.brightness, view.contrast, view.saturation], dtype=torch.float64)
    low, high = (1 - strengths).clamp(min=0).to(others.device), (1 + strengths).to(others.device)
    hue = (2 * others[:, 7:8] - 1) * view.hue
    sigma_low, sigma_high = view.blur_sigma
    return ViewDraws(
        top=_below(others[:, 0], height - rows + 1),
        left=_below(others[:, 1], width - columns + 1),
        height=rows,
        width=columns,
        flip=others[:, 2] < view.flip,
        jitter=others[:, 3] < view.jitter,
        factors=torch.cat((low + (high - low) * others[:, 4:7], hue), dim=1).float(),
        order=others[:, 8:12].argsort(dim=1),
        gray=others[:, 12] < view.gray,
        blur=others[:, 13] < view.blur,
        sigma=(sigma_low + (sigma_high - sigma_low) * others[:, 14]).float(),
        solarize=others[:, 15] < view.solarize,
    )


def _crop_size(view: View, uniform: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of each crop: the first attempt that lies within the image, else all that the ratio allows."""
    areas, ratios = uniform.view(len(uniform), _ATTEMPTS, 2).unbind(-1)
    (small, large), (narrow, wide) = view.crop_scale, torch.tensor(view.crop_ratio, dtype=torch.float64).log().tolist()
    area = height * width * (small + (large - small) * areas)
    ratio = (narrow + (wide - narrow) * ratios).exp()
    columns, rows = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (columns > 0) & (columns <= width) & (rows > 0) & (rows <= height)
    first = fits.int().argmax(dim=1, keepdim=True)
    low, high = view.crop_ratio
    whole_rows, whole_columns = height, width
    if width / height < low:
        whole_rows = max(1, round(width / low))
    elif width / height > high:
        whole_columns = max(1, round(height * high))
    any_fits = fits.any(dim=1)
    rows, columns = rows.gather(1, first)[:, 0], columns.gather(1, first)[:, 0]
    return rows.where(any_fits, torch.full_like(rows, whole_rows)), columns.where(
        any_fits, torch.full_like(columns, whole_columns)
    )


def _below(uniform: Tensor, counts: Tensor) -> Tensor:
    """Integers in ``0..counts - 1``."""
    return (uniform * counts).long()
