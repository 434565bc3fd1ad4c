"""Accuracy of the methods of a comparison."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import isnan

from vl_core.charts import COLORS, GRAY, PAGE_WIDTH, TEXT, TITLE, new_figure, save_figure, style_axes

from vl_attention.comparison.summary import FINE_TUNE, SCRATCH, Summary

_COLORS = {SCRATCH: GRAY, FINE_TUNE: COLORS[1], "ensemble": COLORS[6]}
_TRANSFER = COLORS[0]


def draw_transfer(
    path: str | os.PathLike[str],
    summaries: Sequence[Summary],
    rows: Sequence[Mapping[str, str]],
    *,
    title: str | None = None,
) -> None:
    """Draw a PNG with the mean accuracy of each method, its 95 % interval and a dot per seed.

    Lines mark training from scratch and fine-tuning, between which transfer is expected.

    Args:
        path: The file to write.
        summaries: Summaries from `summarize`.
        rows: Rows of ``transfer.csv``, for the dots.
        title: Title of the figure.

    Raises:
        ValueError: If there are no summaries.
    """
    if not summaries:
        raise ValueError("summaries must be one or more results of summarize, got none")
    figure = new_figure(PAGE_WIDTH, 0.55 * len(summaries) + (1.5 if title else 1.2))
    axes = figure.subplots()
    for place, summary in enumerate(summaries):
        color = _COLORS.get(summary.method, _TRANSFER)
        accuracy = summary.accuracy
        if not isnan(accuracy.low):
            # With few, differing seeds the interval can exceed the range of an accuracy.
            ends = [100 * max(accuracy.low, 0.0), 100 * min(accuracy.high, 1.0)]
            axes.plot(ends, [place, place], color=color, linewidth=2.2, alpha=0.6)
        dots = [100 * float(row["accuracy"]) for row in rows if row["method"] == summary.method]
        axes.scatter(dots, [place] * len(dots), s=16, color=color, alpha=0.55, linewidths=0)
        axes.scatter([100 * accuracy.mean], [place], s=52, color=color, marker="D", zorder=3)
        axes.annotate(
            _annotation(summary),
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=TEXT,
            color=color,
        )
        if summary.method in (SCRATCH, FINE_TUNE):
            axes.axvline(100 * accuracy.mean, color=color, linewidth=0.9, linestyle=":", zorder=0)
    axes.set_yticks(range(len(summaries)), [summary.method for summary in summaries])
    axes.set_ylim(len(summaries) - 0.5, -0.5)
    axes.set_xlabel("accuracy, % (lines: 95 %; dots: seeds)")
    style_axes(axes, grid="x", spines=("bottom",))
    axes.tick_params(axis="y", length=0, labelsize=TEXT)
    if title:
        figure.suptitle(title, fontsize=TITLE, parse_math=False)
    save_figure(figure, path)


def _annotation(summary: Summary) -> str:
    words = f"{100 * summary.accuracy.mean:.1f} %"
    if summary.gain is not None:
        words += f"  ({100 * summary.gain.mean:+.1f})"
    if summary.share_of_gap is not None and summary.method not in (SCRATCH, FINE_TUNE):
        words += f"  {100 * summary.share_of_gap:.0f} % of the gap"
    return words
