"""Learning curves of several methods."""

from __future__ import annotations

import os
from collections.abc import Sequence

from matplotlib.ticker import FuncFormatter, MaxNLocator
from vl_core.charts import (
    COLORS,
    PAGE_WIDTH,
    TEXT,
    TITLE,
    label_text,
    new_figure,
    save_figure,
    spread,
    style_axes,
    wrapped_label,
)

from vl_rl.training.comparison import Curve


def draw_learning_curves(
    path: str | os.PathLike[str], curves: Sequence[Curve], *, title: str = "", metric: str = "eval/return"
) -> None:
    """Draw a PNG with a line per method, an interval over seeds, and a thin line per seed.

    Args:
        path: The file to write.
        curves: At least one.
        title: Heading.
        metric: What the curves show.

    Raises:
        ValueError: If there is no curve.
    """
    if not curves:
        raise ValueError("curves must be at least one curve of learning_curves, got none")
    figure = new_figure(PAGE_WIDTH, 3.8)
    axes, names = figure.subplots(1, 2, sharey=True, width_ratios=[1, 0.24])
    names.set_axis_off()
    for index, curve in enumerate(curves):
        color = COLORS[index % len(COLORS)]
        marker = "o" if len(curve.steps) == 1 else ""
        for values in curve.seeds.values():
            axes.plot(curve.steps, values, color=color, linewidth=0.7, alpha=0.35, marker=marker)
        if len(curve.seeds) > 1:
            axes.fill_between(curve.steps, curve.low, curve.high, color=color, alpha=0.15, linewidth=0)
        axes.plot(curve.steps, curve.middle, color=color, linewidth=1.8, marker=marker)
    low, high = axes.get_ylim()
    labels = [wrapped_label(curve.label) for curve in curves]
    lines = max(label.count("\n") + 1 for label in labels)
    ends = spread([curve.middle[-1] for curve in curves], 0.07 * lines * (high - low))
    for index, (label, place) in enumerate(zip(labels, ends, strict=True)):
        names.text(
            *(0.0, place, label),
            transform=names.get_yaxis_transform(),
            va="center",
            fontsize=TEXT,
            color=COLORS[index % len(COLORS)],
            parse_math=False,
        )
    axes.set_ylim(min(low, *ends), max(high, *ends))
    axes.set_xlabel("environment steps")
    axes.set_ylabel(_in_words(metric, max(len(curve.seeds) for curve in curves)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    style_axes(axes, grid="y")
    if title:
        axes.set_title(label_text(title, at_most=80), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)


def _in_words(metric: str, seeds: int) -> str:
    known = {"eval/return": "return of evaluations", "eval/iqm": "return of evaluations, interquartile mean"}
    what = known.get(metric, metric.replace("_", " "))
    return f"{what},\ninterquartile mean over {seeds} seeds" if seeds > 1 else what
