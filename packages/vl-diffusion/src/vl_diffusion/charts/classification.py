"""Chart of a classification: every image with its errors per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from vl_core.charts import CORRECT, NEUTRAL, WRONG, label_text, new_figure, save_figure, style_axes

from vl_diffusion.classification.result import Classification

_PRUNED = "#c9c9c9"
_AT_MOST = 64


def draw_classification(
    path: Path, images: Sequence[Any], result: Classification, truths: Sequence[str | None], *, columns: int = 4
) -> None:
    """Draw a grid of images, each with a bar chart of the increase in denoising error per class.

    A bar is the paired difference to the predicted class with its standard error; it is zero for the predicted class.
    Light bars are pruned classes. At most 64 images are drawn.

    Args:
        path: The file to write.
        images: The B images: PIL images or arrays.
        result: Their classification.
        truths: The true class of each image, or None.
        columns: Images per row.
    """
    shown = min(len(images), _AT_MOST)
    rows, columns = -(-shown // columns), min(columns, shown)
    height = max(1.5, 0.16 * len(result.classes) + 0.35)
    figure = new_figure(4.0 * columns, height * rows + 0.6)
    cells = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=[1, 1.6] * columns)
    for axes in cells.flat:
        axes.set_axis_off()
    for i in range(shown):
        row, column = divmod(i, columns)
        _draw_image(cells[row, 2 * column], images[i], result.predicted_classes[i], truths[i])
        _draw_errors(cells[row, 2 * column + 1], result, i, truths[i])
    figure.suptitle(
        "Increase of the denoising error over the predicted class (light: pruned early; lines: standard errors)",
        fontsize=9,
    )
    save_figure(figure, path)


def _draw_image(axes: Axes, image: Any, label: str, truth: str | None) -> None:
    pixels = np.asarray(image)
    axes.imshow(pixels, cmap="gray" if pixels.ndim == 2 else None)
    color = NEUTRAL if truth is None else CORRECT if truth == label else WRONG
    text = label if truth in (None, label) else f"{label}\n(true: {truth})"
    # Dollar signs in names are not formulas.
    axes.set_title(label_text(text, at_most=None), fontsize=8, color=color, fontweight="bold", parse_math=False)


def _draw_errors(axes: Axes, result: Classification, i: int, truth: str | None) -> None:
    order = np.argsort(result.differences[i])[:12]
    full = result.evaluations[i, result.predictions[i]]
    place = np.arange(len(order))
    axes.set_axis_on()
    axes.barh(
        place,
        result.differences[i, order],
        xerr=np.nan_to_num(result.difference_standard_errors[i, order]),
        color=[NEUTRAL if result.evaluations[i, c] == full else _PRUNED for c in order],
        error_kw={"elinewidth": 0.7, "ecolor": "#555555"},
    )
    axes.set_yticks(place, [label_text(result.classes[c], at_most=18) for c in order], fontsize=6, parse_math=False)
    for tick, c in zip(axes.get_yticklabels(), order, strict=True):
        if c == result.predictions[i]:
            tick.set_fontweight("bold")
        if result.classes[c] == truth:
            tick.set_color(CORRECT)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=5, length=2)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    style_axes(axes)
