"""Chart of a classification: every image with its errors per class."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from vl_core.charts import (
    BAR,
    CORRECT,
    INK,
    LIGHT,
    NEUTRAL,
    PAGE_WIDTH,
    SMALL,
    TEXT,
    WRONG,
    label_text,
    new_figure,
    save_figure,
    show_image,
    style_axes,
)

from vl_diffusion.classification.result import Classification

_AT_MOST = 64
_COLUMNS = 2
# Classes of an image, those with the smallest errors: in a figure of few images and in one of many.
_CLASSES, _FEW, _CLASSES_OF_MANY = 10, 6, 6


def draw_classification(
    path: Path,
    images: Sequence[Any],
    result: Classification,
    truths: Sequence[str | None],
    names: Sequence[str] | None = None,
) -> None:
    """Draw a grid of images, each with a bar chart of the increase in denoising error per class.

    A bar is the paired difference to the predicted class with its standard error; it is zero for the predicted class.
    Light bars are pruned classes. An image whose margin is within its standard error is marked as undecided. At most 64
    images are drawn, with the 10 classes of the smallest errors (6 if there are more than 6 images).

    Args:
        path: The file to write.
        images: The B images: PIL images or arrays.
        result: Their classification.
        truths: The true class of each image, or None.
        names: File names of the images, shown below them.
    """
    shown = min(len(images), _AT_MOST)
    bars = min(len(result.classes), _CLASSES if shown <= _FEW else _CLASSES_OF_MANY)
    rows, columns = -(-shown // _COLUMNS), min(_COLUMNS, shown)
    height = max(1.6, 0.165 * bars + 0.45)
    figure = new_figure(PAGE_WIDTH * columns / _COLUMNS, height * rows + 0.45)
    cells = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=[1.35, 1.15] * columns)
    for axes in cells.flat:
        axes.set_axis_off()
    for i in range(shown):
        row, column = divmod(i, columns)
        name = None if names is None else names[i]
        _draw_image(cells[row, 2 * column], images[i], result, i, truths[i], name)
        _draw_errors(cells[row, 2 * column + 1], result, i, truths[i], bars)
    which = "" if bars == len(result.classes) else f", {bars} of {len(result.classes):,} classes"
    over = " over" if columns > 1 else "\nover"
    title = f"Increase of the denoising error{over} the predicted class{which}"
    figure.suptitle(f"{title}\n(light: pruned early; lines: standard errors)", fontsize=TEXT)
    save_figure(figure, path)


def _draw_image(axes: Axes, image: Any, result: Classification, i: int, truth: str | None, name: str | None) -> None:
    show_image(axes, image)
    label = result.predicted_classes[i]
    color = NEUTRAL if truth is None else CORRECT if truth == label else WRONG
    notes = ["undecided"] if result.undecided[i] else []
    if truth not in (None, label):
        notes.append(f"true: {truth}")
    lines = [_fitting(label), *(_fitting(f"({note})") for note in notes)]
    # Dollar signs in names are not formulas.
    axes.set_title("\n".join(lines), fontsize=TEXT, color=color, fontweight="bold", parse_math=False)
    if name is not None:
        axes.set_xlabel(_file_name(name), fontsize=SMALL, color=INK, parse_math=False)


def _fitting(text: str, width: int = 14, at_most: int = 2) -> str:
    """A text in lines that fit above an image, shortened to some lines."""
    lines = textwrap.wrap(label_text(text, at_most=None), width, break_on_hyphens=False) or [""]
    shown = lines[:at_most]
    if len(lines) > at_most:
        shown[-1] = shown[-1][: width - 1] + "…"
    return "\n".join(shown)


def _file_name(name: str, at_most: int = 18) -> str:
    """The end of a path, which tells files apart."""
    name = label_text(name, at_most=None)
    return name if len(name) <= at_most else "…" + name[1 - at_most :]


def _draw_errors(axes: Axes, result: Classification, i: int, truth: str | None, bars: int) -> None:
    order = np.argsort(result.differences[i])[:bars]
    full = result.evaluations[i, result.predictions[i]]
    place = np.arange(len(order))
    axes.set_axis_on()
    axes.barh(
        place,
        result.differences[i, order],
        xerr=np.nan_to_num(result.difference_standard_errors[i, order]),
        color=[BAR if result.evaluations[i, c] == full else LIGHT for c in order],
        error_kw={"elinewidth": 1.2, "ecolor": INK, "capsize": 1.5},
    )
    axes.set_yticks(place, [label_text(result.classes[c], at_most=16) for c in order], parse_math=False)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(2))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    style_axes(axes)
    axes.tick_params(axis="x", length=2)
    axes.tick_params(axis="y", length=0)
    for tick, c in zip(axes.get_yticklabels(), order, strict=True):
        if c == result.predictions[i]:
            tick.set_fontweight("bold")
        if result.classes[c] == truth:
            tick.set_color(CORRECT)
