"""Charts of adaptation methods: accuracy and gain per corruption, and example images with their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from vl_core.charts import (
    COLORS,
    CORRECT,
    GRAY,
    INK,
    MARKERS,
    PAGE_WIDTH,
    SMALL,
    TEXT,
    TITLE,
    WRONG,
    in_words,
    label_text,
    legend_text,
    new_figure,
    save_figure,
    show_image,
    style_axes,
)

# The first method is the baseline.
_COLORS = (GRAY, *COLORS)
_MARKERS = "|" + MARKERS


def draw_gains(path: Path, gains: Sequence[Any], title: str, titles: Mapping[str, str] | None = None) -> None:
    """Plot the accuracy of every method per corruption, and its gain with a 95 % interval.

    Args:
        path: The file to write.
        gains: One row per corruption and method, in plotting order: ``corruption, method, accuracy, gain, gain_low,
            gain_high``. Gains are relative to the first method.
        title: Title of the figure.
        titles: Names of methods in words; default: their identifiers without underscores.
    """
    corruptions = list(dict.fromkeys(row.corruption for row in gains))
    methods = list(dict.fromkeys(row.method for row in gains))
    names = [(titles or {}).get(method) or in_words(method) for method in methods]
    height = 0.2 * len(corruptions) * max(1.0, 0.4 * len(methods)) + 1.4
    figure = new_figure(PAGE_WIDTH, height)
    accuracy, gain = figure.subplots(1, 2, sharey=True)
    for axes in (accuracy, gain):
        _draw_lines(axes, corruptions)
    for row in gains:
        line, number = corruptions.index(row.corruption), methods.index(row.method)
        color, marker = _COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)]
        place = line + _offset(number, len(methods))
        if number == 0:
            # The baseline is a bar through the full height of its corruption.
            accuracy.vlines(100 * row.accuracy, line - 0.4, line + 0.4, color=color, linewidth=2, zorder=2)
            continue
        accuracy.plot(100 * row.accuracy, place, marker, color=color, markersize=4.5, zorder=3)
        gain.plot([row.gain_low, row.gain_high], [place, place], color=color, linewidth=1.2, zorder=2)
        gain.plot(row.gain, place, marker, color=color, markersize=4, zorder=3)
    gain.axvline(0, color=_COLORS[0], linewidth=2, zorder=1)
    accuracy.set_xlabel("accuracy, %")
    gain.set_xlabel(f"gain over {names[0]},\npoints (lines: 95 %)", parse_math=False)
    figure.legend(handles=_legend(names), loc="outside lower center", ncols=min(5, len(methods)), frameon=False,
                  fontsize=SMALL, handletextpad=0.4, columnspacing=1.4)  # fmt: skip
    figure.suptitle(title, fontsize=TITLE, parse_math=False)
    save_figure(figure, path)


@dataclass(frozen=True, eq=False)
class Example:
    """An image with its predictions before and after adaptation."""

    clean: np.ndarray
    """``(H, W)`` or ``(H, W, 3)`` in [0, 1]."""

    corrupted: np.ndarray
    """The corrupted image, same shape."""

    corruption: str
    """Name of the corruption."""

    truth: str
    """True class name."""

    before: str
    """Class predicted by the source model."""

    after: str
    """Class predicted after adaptation."""


def draw_images(path: Path, examples: Sequence[Example], title: str, *, columns: int = 3) -> None:
    """Draw each image clean and corrupted, with its predictions before and after, marked correct or wrong.

    Args:
        path: The file to write.
        examples: The images.
        title: Title of the figure.
        columns: Images per row.
    """
    rows, columns = -(-len(examples) // columns), min(columns, len(examples))
    figure = new_figure(PAGE_WIDTH, (PAGE_WIDTH / columns / 2 + 0.62) * rows + 0.5)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.05, wspace=0.02)  # type: ignore[union-attr, call-arg]
    # A narrow column separates two examples.
    cells = figure.subplots(rows, 3 * columns, squeeze=False, width_ratios=[1, 1, 0.12] * columns)
    for axes in cells.flat:
        axes.set_axis_off()
    for i, example in enumerate(examples):
        row, column = divmod(i, columns)
        left, right = cells[row, 3 * column], cells[row, 3 * column + 1]
        _draw_image(left, example.clean, example.truth)
        _draw_image(right, example.corrupted, example.corruption)
        for axes, what, name in ((left, "before", example.before), (right, "after", example.after)):
            is_correct = name == example.truth
            text = f"{what}: {'✓' if is_correct else '✗'}\n{label_text(name)}"
            color = CORRECT if is_correct else WRONG
            axes.text(
                *(0.5, -0.04, text),
                transform=axes.transAxes,
                ha="center",
                va="top",
                fontsize=SMALL,
                color=color,
                fontweight="bold",
                parse_math=False,
            )
    figure.suptitle(title, fontsize=TEXT, parse_math=False)
    save_figure(figure, path)


def _draw_lines(axes: Axes, corruptions: Sequence[str]) -> None:
    for line in range(0, len(corruptions), 2):
        axes.axhspan(line - 0.5, line + 0.5, color="#f3f3f3", zorder=0)
    axes.set_yticks(range(len(corruptions)), [in_words(name) for name in corruptions])
    axes.set_ylim(len(corruptions) - 0.5, -0.5)
    style_axes(axes, grid="x", spines=("bottom",))
    axes.tick_params(axis="y", length=0)


def _offset(number: int, methods: int) -> float:
    """Vertical offset of a method within its corruption, so that markers do not overlap; the first method has none."""
    others = methods - 1
    return min(0.7, 0.25 * (others - 1)) * ((number - 1) / max(1, others - 1) - 0.5)


def _legend(names: Sequence[str]) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=_MARKERS[i % len(_MARKERS)],
            markersize=12 if i == 0 else 6,
            markeredgewidth=2 if i == 0 else 1,
            color=_COLORS[i % len(_COLORS)],
            label=legend_text(name),
        )
        for i, name in enumerate(names)
    ]


def _draw_image(axes: Axes, pixels: np.ndarray, title: str) -> None:
    show_image(axes, pixels)
    axes.set_title(label_text(title), fontsize=SMALL, color=INK, parse_math=False, pad=3)
