"""Accuracy of classifiers under image shifts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from vl_core.charts import (
    COLORS,
    MARKERS,
    PAGE_WIDTH,
    TEXT,
    in_words,
    legend_text,
    new_figure,
    save_figure,
    style_axes,
)

from vl_attention.analysis.shift_accuracy import ShiftAccuracy

# Maximum number of panels in a row.
_ACROSS = 3


def draw_shifts(
    path: str | os.PathLike[str], rows: Mapping[tuple[str, str], Sequence[ShiftAccuracy]], *, unshifted: str = "none"
) -> None:
    """Draw a PNG of accuracy by severity, with a panel per shift and data set and a line per model.

    Bands are Wilson's 95 % intervals. Lines start at the unchanged images. Without any shift there is one panel, with a
    position for each data set.

    Args:
        path: The file to write.
        rows: Rows of `evaluate_shifts` by model and data set.
        unshifted: Name of the shift that stands for unchanged images; it has no panel if there are other shifts.

    Raises:
        ValueError: If there are no rows.
    """
    if not any(rows.values()):
        raise ValueError("rows must hold at least one accuracy, got none")
    models = list(dict.fromkeys(model for model, _ in rows))
    sets = list(dict.fromkeys(images for _, images in rows))
    shifts = list(dict.fromkeys(row.shift for own in rows.values() for row in own if row.shift != unshifted))
    if not shifts:
        _draw_unshifted(path, rows, models, sets)
        return
    across = min(len(shifts), _ACROSS)
    down = -(-len(shifts) // across) * len(sets)
    figure = new_figure(min(PAGE_WIDTH, max(2.5 * across + 0.5, 5.2)), 2.25 * down + 0.3 + 0.22 * -(-len(models) // 3))
    cells = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes in cells.flat:
        axes.set_axis_off()
    lines: dict[str, Line2D] = {}
    for number, images in enumerate(sets):
        for place, shift in enumerate(shifts):
            row, column = divmod(place, across)
            axes = cells[number * (down // len(sets)) + row, column]
            axes.set_axis_on()
            for index, model in enumerate(models):
                own = rows.get((model, images), ())
                found = [one for one in own if one.shift == shift and one.severity]
                start = [one for one in own if not one.severity and one.shift in (shift, unshifted)][:1]
                if found or start:
                    lines.setdefault(model, _draw_line(axes, [*start, *found], index))
            title = in_words(shift) if len(sets) == 1 else f"{images}: {in_words(shift)}"
            _finish(axes, title)
            if column == 0:
                axes.set_ylabel("accuracy, % (bands: 95 %)")
            if place + across >= len(shifts):
                axes.set_xlabel("severity")
                axes.tick_params(labelbottom=True)
    figure.legend(
        list(lines.values()),
        list(map(legend_text, lines)),
        loc="outside lower center",
        ncols=min(3, len(lines)),
        frameon=False,
        fontsize=TEXT,
    )
    save_figure(figure, path)


def _draw_line(axes: Axes, rows: Sequence[ShiftAccuracy], index: int) -> Line2D:
    """Draw one model's accuracies by severity."""
    rows = sorted(rows, key=lambda row: row.severity)
    severities = [row.severity for row in rows]
    color = COLORS[index % len(COLORS)]
    low, high = ([100 * end for end in ends] for ends in zip(*((row.low, row.high) for row in rows), strict=True))
    if len(rows) > 1:
        axes.fill_between(severities, low, high, color=color, alpha=0.15, linewidth=0)
    else:
        axes.vlines(severities, low, high, color=color, linewidth=1.2)
    return axes.plot(
        severities,
        [100 * row.accuracy for row in rows],
        color=color,
        marker=MARKERS[index % len(MARKERS)],
        linestyle=("-", "--", ":")[index // len(COLORS) % 3],
        markersize=4,
        linewidth=1.4,
    )[0]


def _draw_unshifted(
    path: str | os.PathLike[str],
    rows: Mapping[tuple[str, str], Sequence[ShiftAccuracy]],
    models: Sequence[str],
    sets: Sequence[str],
) -> None:
    figure = new_figure(min(PAGE_WIDTH, max(4.6, 1.3 * len(sets) + 3.2)), 3.4)
    axes = figure.subplots()
    for index, model in enumerate(models):
        own = [(place, rows[model, images][0]) for place, images in enumerate(sets) if rows.get((model, images))]
        shift = 0.5 * ((index + 0.5) / len(models) - 0.5)
        axes.errorbar(
            [place + shift for place, _ in own],
            [100 * row.accuracy for _, row in own],
            [
                [100 * (row.accuracy - row.low) for _, row in own],
                [100 * (row.high - row.accuracy) for _, row in own],
            ],
            color=COLORS[index % len(COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            linestyle="none",
            capsize=3,
            label=legend_text(model),
        )
    axes.set_xlim(-0.5, len(sets) - 0.5)
    axes.set_xticks(range(len(sets)), sets, parse_math=False)
    axes.set_ylabel("accuracy, % (bars: 95 %)")
    style_axes(axes, grid="y")
    axes.legend(frameon=False, fontsize=TEXT, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    style_axes(axes, grid="y")
    axes.title.set_fontsize(TEXT)
