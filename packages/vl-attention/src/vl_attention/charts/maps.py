"""Attention maps beside their images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from vl_core.charts import PAGE_WIDTH, SMALL, TEXT, TITLE, in_words, new_figure, save_figure, show_image

from vl_attention.models.inference import check_images


def draw_attention(
    path: str | os.PathLike[str],
    images: Tensor,
    maps: Mapping[str, Tensor],
    *,
    head: int | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
) -> None:
    """Draw a PNG with a row per image, and columns for the image and each model.

    Each map is divided by its mean, so 1 stands for uniform attention; all panels share one color scale.

    Args:
        path: The file to write.
        images: ``(B, C, H, W)``, floats in 0..1, of one channel or three.
        maps: Maps ``(B, heads, rows, columns)`` of `class_attention` by model name. Grids may differ.
        head: Head to draw; default: the mean over heads.
        labels: Names of the B images.
        title: Title of the figure.

    Raises:
        ValueError: If there is no map or image, or the numbers differ.
    """
    check_images(images)
    if not maps or not len(images):
        raise ValueError(f"maps and images must each hold at least one, got {len(maps)} and {len(images)}")
    wrong = {name: tuple(m.shape) for name, m in maps.items() if m.ndim != 4 or len(m) != len(images)}
    if wrong or images.shape[1] not in (1, 3):
        raise ValueError(
            f"maps must be ({len(images)}, heads, rows, columns) and images of 1 or 3 channels, got "
            f"{wrong or tuple(images.shape)}"
        )
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels must be one per image, {len(images)}, got {len(labels)}")
    panels = {name: _over_image(found, images, head) for name, found in maps.items()}
    # A few patches with most of the attention should not make the others black.
    limit = max(float(np.quantile(np.stack(list(panels.values())), 0.99)), 1.5)
    pixels = images.detach().float().cpu().clamp(0, 1).permute(0, 2, 3, 1).numpy()
    width = min(PAGE_WIDTH, 1.6 * (len(maps) + 1) + 0.8)
    height = ((width - 0.8) / (len(maps) + 1) - 0.05) * images.shape[-2] / images.shape[-1]
    figure = new_figure(width, (height + 0.05) * len(images) + (0.6 if title else 0.3))
    cells = figure.subplots(len(images), len(maps) + 1, squeeze=False)
    shown = None
    for index, row in enumerate(cells):
        image = pixels[index]
        show_image(row[0], image)
        if labels is not None:
            row[0].set_ylabel(labels[index], fontsize=TEXT, parse_math=False)
        for axes, values in zip(row[1:], panels.values(), strict=True):
            show_image(axes, image.mean(-1))
            shown = axes.imshow(values[index], cmap="inferno", vmin=0, vmax=limit, alpha=0.7)
    for axes, name in zip(cells[0], ["image", *maps], strict=True):
        axes.set_title(in_words(name), fontsize=TEXT, parse_math=False)
    assert shown is not None
    bar = figure.colorbar(shown, ax=cells, fraction=0.03, pad=0.01, extend="max", shrink=min(1.0, 2.4 / len(images)))
    bar.solids.set_alpha(1)  # type: ignore[union-attr]
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label("attention (1: uniform)", fontsize=SMALL)
    if title:
        figure.suptitle(title, fontsize=TITLE, parse_math=False)
    save_figure(figure, path)


def _over_image(found: Tensor, images: Tensor, head: int | None) -> np.ndarray:
    """Scale grids ``(B, heads, rows, columns)`` to mean one and enlarge them to ``(B, H, W)``."""
    if head is not None and not -found.shape[1] <= head < found.shape[1]:
        raise ValueError(f"head must be one of 0 to {found.shape[1] - 1}, got {head}")
    grid = found.detach().float().cpu()
    grid = grid.mean(1) if head is None else grid[:, head]
    grid = grid / grid.mean((1, 2), keepdim=True).clamp_min(torch.finfo(grid.dtype).tiny)
    size = tuple(images.shape[-2:])
    return F.interpolate(grid[:, None], size, mode="bilinear", align_corners=False)[:, 0].numpy()
