"""Images that a model finds for captions."""

from __future__ import annotations

import os
import textwrap
from typing import Any

from vl_core.charts import (
    CORRECT,
    INK,
    PAGE_WIDTH,
    SMALL,
    TEXT,
    TITLE,
    WRONG,
    label_text,
    new_figure,
    save_figure,
    show_image,
)

from vl_vlm.captions.captioned import CaptionedImages

_ROWS, _FOUND = 6, 5


def draw_retrievals(path: str | os.PathLike[str], model: Any, dataset: CaptionedImages, *, title: str = "") -> None:
    """Draw a PNG with captions and the five images of a data set that fit each best, those of the caption marked.

    Args:
        path: The file to write.
        model: Has ``similarity(images, texts)``, as a `DualEncoder`.
        dataset: Images and captions, at least two; the captions of six images are drawn, evenly through the data set.
        title: Heading.

    Raises:
        ValueError: If there are fewer than two images.
    """
    if len(dataset) < 2:
        raise ValueError(f"dataset must hold at least two images, got {len(dataset)}")
    rows = min(_ROWS, len(dataset))
    # The captions of different kinds of scenes follow one another: a step that is no multiple of three shows all.
    step = max(1, len(dataset) // rows)
    queries = [(row * (step - (step % 3 == 0 and step > 1))) % len(dataset) for row in range(rows)]
    images = [dataset[index].image for index in range(len(dataset))]
    captions = [dataset.captions[index][0] for index in queries]
    order = model.similarity(images, captions).T.argsort(dim=1, descending=True, stable=True)
    columns = min(_FOUND, len(dataset))
    figure = new_figure(PAGE_WIDTH, 0.5 + 0.95 * rows)
    panels = figure.subplots(rows, columns + 1, squeeze=False, width_ratios=[2.2] + [1] * columns)
    for row, (caption, best) in enumerate(zip(captions, order.tolist(), strict=True)):
        text = textwrap.fill(label_text(caption, at_most=None), 26, max_lines=3, placeholder=" …")
        panels[row, 0].set_axis_off()
        panels[row, 0].text(1, 0.5, text, ha="right", va="center", fontsize=TEXT, color=INK, parse_math=False)
        for panel, index in zip(panels[row, 1:], best, strict=False):
            show_image(panel, images[index])
            right = caption in dataset.captions[index]
            for spine in panel.spines.values():
                spine.set(color=CORRECT if right else WRONG, linewidth=2.2)
            if right:
                panel.set_xlabel("its caption", fontsize=SMALL, color=CORRECT)
    if title:
        figure.suptitle(label_text(title, at_most=80), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)
