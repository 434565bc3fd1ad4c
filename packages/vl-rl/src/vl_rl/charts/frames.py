"""Frames of an episode side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from vl_core.charts import PAGE_WIDTH, SMALL, TITLE, label_text, new_figure, save_figure, show_image

_ACROSS = 4


def draw_frames(
    path: str | os.PathLike[str], frames: Sequence[NDArray[np.uint8]], *, count: int = 8, title: str = ""
) -> None:
    """Draw a PNG with frames of an episode, evenly spaced from the first to the last.

    Args:
        path: The file to write.
        frames: At least one image ``(H, W, 3)``.
        count: Maximum number of frames to draw.
        title: Heading.

    Raises:
        ValueError: If there is no frame.
    """
    if not len(frames):
        raise ValueError("frames must be at least one image, got none")
    chosen = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))
    across = min(_ACROSS, len(chosen))
    down = -(-len(chosen) // across)
    height, width = frames[0].shape[:2]
    figure = new_figure(PAGE_WIDTH, down * (PAGE_WIDTH / across * height / width + 0.22) + 0.35 * bool(title))
    cells = figure.subplots(down, across, squeeze=False).ravel()
    for cell in cells[len(chosen) :]:
        cell.set_axis_off()
    for cell, index in zip(cells[: len(chosen)], chosen, strict=True):
        show_image(cell, frames[index])
        cell.set_xlabel(f"step {index}", fontsize=SMALL)
    if title:
        figure.suptitle(label_text(title, at_most=80), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)
