"""A sheet of views, one recipe a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor
from vl_core.charts import SMALL, TITLE, new_figure, save_figure, show_image

from vl_ssl.augmentation.recipes import Augmentation

if TYPE_CHECKING:
    import os


def chart_views(
    images: Tensor,
    augmentations: Mapping[str, Augmentation],
    path: str | os.PathLike[str],
    *,
    pairs: int = 2,
    seed: int = 0,
) -> None:
    """Draw images, and pairs of views of each, one augmentation and image a row.

    Args:
        images: A few images ``(n, C, H, W)`` of one or three channels, uint8 or floating in [0, 1].
        augmentations: The augmentations by the name that stands at their rows.
        path: PNG file to write or replace.
        pairs: Pairs of views of each image, each at a position of its own.
        seed: Of the views.

    Raises:
        ValueError: If the images have another number of channels, or there is nothing to draw.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"images must have shape (n, 1, H, W) or (n, 3, H, W), got {tuple(images.shape)}")
    if not augmentations or pairs < 1:
        raise ValueError(f"augmentations must hold at least one, and pairs be at least 1, got {pairs} pairs")
    columns, rows = 1 + 2 * pairs, len(augmentations) * len(images)
    figure = new_figure(1.1 * columns + 1.1, 1.1 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    for column, title in enumerate(["image"] + ["view 1", "view 2"] * pairs):
        grid[0, column].set_title(title, fontsize=SMALL)
    for block, (name, augmentation) in enumerate(augmentations.items()):
        axes = grid[block * len(images) : (block + 1) * len(images)]
        axes[0, 0].set_ylabel(name, fontsize=TITLE, rotation=0, ha="right", va="center")
        for number, (row, image) in enumerate(zip(axes, images, strict=True)):
            show_image(row[0], image.permute(1, 2, 0).cpu().numpy())
            many = image.expand(pairs, *image.shape)
            both = augmentation.batched(many, range(number * pairs, (number + 1) * pairs), seed=seed)
            for column in range(2 * pairs):
                show_image(row[1 + column], both[column % 2][column // 2].permute(1, 2, 0).cpu().numpy())
    save_figure(figure, path)
