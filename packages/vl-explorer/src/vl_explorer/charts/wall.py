"""A wall of images: the best that a run found, each with a line or two about it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from PIL import Image
from vl_core.charts import PAGE_WIDTH, SMALL, TITLE, label_text, new_figure, save_figure, show_image

_SIDE = 200  # pixels of a tile
_PAPER = 245
_MOST = 200


def draw_wall(
    path: str | os.PathLike[str],
    images: Sequence[Image.Image],
    captions: Sequence[str],
    *,
    columns: int = 8,
    title: str = "",
) -> None:
    """Draw a PNG of images in rows, each as a square with its caption below.

    Args:
        path: File to write or replace; its folder must exist.
        images: At most 200 images of any size, in the order of the wall; each is shown whole.
        captions: A caption an image: one or two lines, shortened to the width of the tile. A text from the web is
            drawn as it is, and never read as a formula.
        columns: Images in a row, 1 to 12.
        title: Heading.

    Raises:
        ValueError: If there is no image, another number of captions, or a number is out of range.

    Example:
        ``draw_wall("wall.png", images, [f"{reward:.2f}  {query}" for query, reward in found])``
    """
    if not 1 <= len(images) <= _MOST:
        raise ValueError(f"images must hold 1 to {_MOST}, got {len(images)}; draw the best ones")
    if len(captions) != len(images):
        raise ValueError(f"captions must be as many as images, {len(images)}, got {len(captions)}")
    if not 1 <= columns <= 12:
        raise ValueError(f"columns must lie in 1..12, got {columns}")
    columns = min(columns, max(len(images), 4))
    rows = math.ceil(len(images) / columns)
    lines = max(min(caption.count("\n") + 1, 2) for caption in captions)
    width = PAGE_WIDTH / columns
    figure = new_figure(PAGE_WIDTH, rows * (width + 0.15 * lines) + (0.35 if title else 0.1))
    letters = max(6, round(width / 0.08))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, caption in zip(grid.flat, images, captions, strict=False):
        show_image(axes, _tile(image))
        text = "\n".join(label_text(line, at_most=letters) for line in caption.split("\n")[:2])
        axes.set_xlabel(text, fontsize=SMALL, labelpad=2, parse_math=False)
    if title:
        figure.suptitle(label_text(title, at_most=90), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)


def _tile(image: Image.Image) -> Image.Image:
    """The whole image in a square, on a light ground."""
    scale = _SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    # Small images, such as those of 32 pixels, keep their pixels.
    how = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    shown = image.convert("RGBA").resize(size, how)
    tile = Image.new("RGBA", (_SIDE, _SIDE), (_PAPER, _PAPER, _PAPER, 255))
    tile.alpha_composite(shown, ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return tile.convert("RGB")
