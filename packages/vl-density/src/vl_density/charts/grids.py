"""Images side by side."""

from __future__ import annotations

import os
from math import ceil

from torch import Tensor
from vl_core.charts import PAGE_WIDTH, TITLE, label_text, new_figure, save_figure, show_image

_COLUMNS = 8


def draw_grid(path: str | os.PathLike[str], images: Tensor, *, title: str = "") -> None:
    """Draw a PNG with images in rows of eight.

    Args:
        path: The file to write.
        images: ``(N, C, H, W)`` in [0, 1], one channel or three, N at least 1.
        title: Heading.

    Raises:
        ValueError: If there is no image.
    """
    if not len(images):
        raise ValueError("images must hold at least one, got none")
    rows = ceil(len(images) / _COLUMNS)
    height, width = images.shape[2:]
    figure = new_figure(PAGE_WIDTH, 0.5 + rows * PAGE_WIDTH / _COLUMNS * height / width)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, image in zip(panels, images, strict=False):
        show_image(panel, image.movedim(0, -1).squeeze(-1).cpu().numpy())
    if title:
        figure.suptitle(label_text(title, at_most=80), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)
