"""Chart of searches: cost of each, with its accuracy and its agreement with exhaustive search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from vl_core.charts import COLORS, GRAY, INK, PAGE_WIDTH, SMALL, TEXT, new_figure, save_figure, style_axes
from vl_core.results import wilson_interval

# Places of the two columns of figures, in widths of their axes.
_PLACES = (0.24, 0.76)


def draw_comparison(path: Path, rows: Sequence[Any]) -> None:
    """Draw a line per search, the cheapest first: evaluations per image, accuracy and agreement.

    Intervals are Wilson's of 95 %.

    Args:
        path: The file to write.
        rows: One row per search: ``search, images, accuracy, agreement, evaluations_per_image``; the first is
            exhaustive search, the baseline.
    """
    baseline = rows[0]
    rows = sorted(rows, key=lambda row: float(row.evaluations_per_image))
    figure = new_figure(PAGE_WIDTH, 0.3 * len(rows) + 1.2)
    axes, columns = figure.subplots(1, 2, sharey=True, width_ratios=[1, 0.85])
    columns.set_axis_off()
    lowest = min(float(row.evaluations_per_image) for row in rows)
    axes.axvline(baseline.evaluations_per_image, color=GRAY, linewidth=0.8, linestyle="--", zorder=1)
    for place, row in enumerate(rows):
        color = GRAY if row is baseline else COLORS[0]
        cost = row.evaluations_per_image
        axes.plot([lowest / 1.6, cost], [place, place], color=color, linewidth=1.2, alpha=0.5)
        axes.plot(cost, place, "o", color=color, markersize=6)
        axes.annotate(
            f"{cost:,.0f}", (cost, place), (7, 0), textcoords="offset points", va="center", fontsize=SMALL, color=color
        )
        agreement = "baseline" if row is baseline else _share(row.agreement, row.images)
        for x, text in zip(_PLACES, (_share(row.accuracy, row.images), agreement), strict=True):
            columns.text(x, place, text, va="center", ha="center", fontsize=SMALL, color=INK)
    for x, text in zip(_PLACES, ("accuracy", "agreement with\nexhaustive search"), strict=True):
        columns.text(x, -0.6, text, va="bottom", ha="center", fontsize=SMALL, color=INK)
    axes.set_yticks(range(len(rows)), [row.search for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlim(left=lowest / 1.6, right=2.2 * max(float(row.evaluations_per_image) for row in rows))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("evaluations per image")
    style_axes(axes, grid="x", spines=("bottom",))
    axes.tick_params(axis="y", length=0, labelsize=TEXT)
    figure.suptitle(f"Searches on the same draws of the same {baseline.images:,} images", fontsize=TEXT + 1)
    save_figure(figure, path)


def _share(share: float, images: int) -> str:
    low, high = wilson_interval(round(share * images), images)
    return f"{100 * share:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
