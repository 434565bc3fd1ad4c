"""Scores of methods as points with intervals."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vl_core.charts import COLORS, GRAY, INK, PAGE_WIDTH, TEXT, TITLE, label_text, new_figure, save_figure, style_axes

from vl_rl.charts.labels import wrapped_label
from vl_rl.common.statistics import Interval


def draw_intervals(
    path: str | os.PathLike[str],
    intervals: Mapping[str, Mapping[str, Interval]],
    *,
    title: str = "",
) -> None:
    """Draw a PNG with a panel per statistic, and in it a row per method: the estimate and its interval.

    Args:
        path: The file to write.
        intervals: Intervals by statistic and method; every statistic has the same methods.
        title: Heading.

    Raises:
        ValueError: If there is no statistic or no method.
    """
    methods = list(next(iter(intervals.values()), {}))
    if not methods:
        raise ValueError("intervals must hold at least one statistic of one method, got none")
    figure = new_figure(PAGE_WIDTH, 1.1 + 0.32 * len(methods))
    panels = figure.subplots(1, len(intervals), sharey=True, squeeze=False)[0]
    for panel, (statistic, found) in zip(panels, intervals.items(), strict=True):
        for index, method in enumerate(methods):
            own, color = found[method], COLORS[index % len(COLORS)]
            panel.plot([own.low, own.high], [index, index], color=color, linewidth=6, alpha=0.35, solid_capstyle="butt")
            panel.plot([own.estimate], [index], color=INK, marker="|", markersize=11, markeredgewidth=1.6)
        panel.set_xlabel(statistic)
        panel.locator_params(axis="x", nbins=5)
        style_axes(panel, grid="x", spines=("bottom",))
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(
        range(len(methods)), [wrapped_label(name, width=20) for name in methods], fontsize=TEXT, parse_math=False
    )
    panels[0].set_ylim(len(methods) - 0.4, -0.6)
    if "probability of improvement" in intervals:
        panels[list(intervals).index("probability of improvement")].axvline(0.5, color=GRAY, linewidth=0.8, ls="--")
    if title:
        figure.suptitle(label_text(title, at_most=80), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)
