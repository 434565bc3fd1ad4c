"""Images with captions under them."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from math import ceil
from typing import Any

from vl_core.charts import INK, PAGE_WIDTH, SMALL, TITLE, label_text, new_figure, save_figure, show_image

_COLUMNS = 5
_LETTERS, _LINES = 23, 3  # under an image


def draw_sheet(
    path: str | os.PathLike[str], images: Sequence[Any], captions: Sequence[str], *, title: str = ""
) -> None:
    """Draw a PNG with images in rows of five, and the caption of each below it.

    Args:
        path: The file to write.
        images: PIL images, or arrays as `vl_core.charts.show_image` takes them; at least one.
        captions: One for each image; longer ones than three lines are cut.
        title: Heading.

    Raises:
        ValueError: If there is no image, or the numbers of images and captions differ.
    """
    if not len(images) or len(images) != len(captions):
        raise ValueError(
            f"captions must be one for each image, and images at least one, got {len(captions)} and {len(images)}"
        )
    rows = ceil(len(images) / _COLUMNS)
    figure = new_figure(PAGE_WIDTH, 0.4 + rows * (PAGE_WIDTH / _COLUMNS + 0.45))
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, image, caption in zip(panels, images, captions, strict=False):
        show_image(panel, image)
        text = textwrap.fill(label_text(caption, at_most=None), _LETTERS, max_lines=_LINES, placeholder=" …")
        # Three lines for every caption, so that the images of a row have one height.
        text += "\n" * (_LINES - 1 - text.count("\n"))
        panel.set_xlabel(text, fontsize=SMALL, color=INK, parse_math=False)
    if title:
        figure.suptitle(label_text(title, at_most=80), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)
