"""Figure of a forecast: measured against predicted accuracy of held-out runs, and rank correlations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from vl_core.charts import (
    COLORS,
    GRAY,
    INK,
    PAGE_WIDTH,
    SMALL,
    TEXT,
    TITLE,
    label_text,
    new_figure,
    save_figure,
    style_axes,
    wrapped_label,
)
from vl_core.intervals import Interval

from vl_ssl.forecast.evaluation import HeldOut


def draw_forecast(
    path: str | os.PathLike[str], results: Mapping[str, HeldOut], *, level: float, title: str = ""
) -> None:
    """Draw a PNG: on the left the first forecast, a run a point with its prediction interval; on the right all.

    Args:
        path: The file to write; its folder must exist.
        results: Forecasts of the same runs by name: the one to show, then its baselines.
        level: Share that the prediction intervals are to cover.
        title: Heading.

    Raises:
        ValueError: If there is no forecast.
    """
    if not results:
        raise ValueError("results must hold at least one forecast, got none")
    figure = new_figure(PAGE_WIDTH, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1.0))
    name, first = next(iter(results.items()))
    _draw_runs(left, first, f"{name}: intervals of {level:.0%}, {first.coverage:.0%} covered".replace("%", " %"))
    _draw_scores(right, {each: own.spearman for each, own in results.items()})
    if title:
        figure.suptitle(label_text(title, at_most=90), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)


def _draw_runs(axes: Any, result: HeldOut, title: str) -> None:
    found = result.forecast
    # The same numbers as in tables, which are per cent.
    predicted, low, high, measured = (100 * part for part in (found.accuracy, found.low, found.high, result.measured))
    ends = np.concatenate([measured, predicted])
    margin = 0.08 * max(1.0, float(np.ptp(ends)))
    least, most = float(ends.min()) - margin, float(ends.max()) + margin
    axes.plot([least, most], [least, most], color=GRAY, linewidth=0.8, linestyle="--")
    axes.vlines(measured, low, high, color=COLORS[0], linewidth=1.0, alpha=0.35)
    axes.plot(measured, predicted, "o", color=COLORS[0], markersize=3.5)
    axes.set_xlim(least, most)
    # Intervals may reach far beyond the points; what is cut is said by the table.
    reach = 0.75 * (most - least)
    axes.set_ylim(max(float(low.min()) - margin, least - reach), min(float(high.max()) + margin, most + reach))
    axes.set_xlabel("measured accuracy, %")
    axes.set_ylabel("predicted without the run's configuration, %")
    axes.set_title(wrapped_label(title, width=48), parse_math=False)
    style_axes(axes, grid="both")
    axes.title.set_fontsize(TEXT)


def _draw_scores(axes: Any, scores: Mapping[str, Interval]) -> None:
    axes.axvline(0, color=GRAY, linewidth=0.8, linestyle="--")
    for row, own in enumerate(scores.values()):
        axes.plot(
            [own.low, own.high], [row, row], color=COLORS[row % 8], linewidth=6, alpha=0.35, solid_capstyle="butt"
        )
        axes.plot([own.estimate], [row], color=INK, marker="|", markersize=11, markeredgewidth=1.6)
    axes.set_yticks(range(len(scores)), [wrapped_label(name) for name in scores], fontsize=SMALL, parse_math=False)
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.set_xlim(-1.05, 1.05)
    axes.set_xlabel("rank correlation of held-out runs")
    axes.set_title("Spearman, intervals of 95 %")
    style_axes(axes, grid="x", spines=("bottom",))
    axes.title.set_fontsize(TEXT)
    axes.tick_params(axis="y", length=0)
