"""Chart of a classification: every image with its errors per class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from vl_core.runs import atomic_write

from vl_diffusion.classification.result import Classification

_RIGHT, _WRONG, _NEUTRAL, _PRUNED = "#2a7f62", "#b5402a", "#33658a", "#c9c9c9"
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
    figure = Figure(figsize=(4.0 * columns, height * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
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
    with atomic_write(path, "wb") as file, warnings.catch_warnings():
        # A character that the font lacks becomes a box, which is better than no chart.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure.savefig(file, format="png", dpi=110)


def _draw_image(axes: Axes, image: Any, label: str, truth: str | None) -> None:
    pixels = np.asarray(image)
    axes.imshow(pixels, cmap="gray" if pixels.ndim == 2 else None)
    color = _NEUTRAL if truth is None else _RIGHT if truth == label else _WRONG
    text = label if truth in (None, label) else f"{label}\n(true: {truth})"
    # Dollar signs in names are not formulas.
    axes.set_title(_drawable(text), fontsize=8, color=color, fontweight="bold", parse_math=False)


def _draw_errors(axes: Axes, result: Classification, i: int, truth: str | None) -> None:
    order = np.argsort(result.differences[i])[:12]
    full = result.evaluations[i, result.predictions[i]]
    place = np.arange(len(order))
    axes.set_axis_on()
    axes.barh(
        place,
        result.differences[i, order],
        xerr=np.nan_to_num(result.difference_standard_errors[i, order]),
        color=[_NEUTRAL if result.evaluations[i, c] == full else _PRUNED for c in order],
        error_kw={"elinewidth": 0.7, "ecolor": "#555555"},
    )
    axes.set_yticks(place, [_drawable(_short(result.classes[c])) for c in order], fontsize=6, parse_math=False)
    for tick, c in zip(axes.get_yticklabels(), order, strict=True):
        if c == result.predictions[i]:
            tick.set_fontweight("bold")
        if result.classes[c] == truth:
            tick.set_color(_RIGHT)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=5, length=2)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(_few_ticks())
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3)


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "…"


def _drawable(text: str) -> str:
    """Escape bytes of a file name that are not UTF-8, which Python keeps as lone surrogates."""
    return text.encode(errors="backslashreplace").decode()
