"""Chart of searches: accuracy, and agreement with exhaustive search, against cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from vl_core.charts import COLORS, GRAY, MARKERS, new_figure, save_figure, style_axes
from vl_core.results import wilson_interval


def draw_comparison(path: Path, rows: Sequence[Any]) -> None:
    """Plot accuracy and agreement against evaluations per image, with 95 % Wilson intervals.

    Args:
        path: The file to write.
        rows: One row per search: ``search, images, accuracy, agreement, evaluations_per_image``.
    """
    figure = new_figure(12, 5)
    places = _apart([row.evaluations_per_image for row in rows])
    for axes, quantity in zip(figure.subplots(1, 2), ("accuracy", "agreement"), strict=True):
        # Exhaustive search is the baseline.
        axes.axhline(100 * getattr(rows[0], quantity), color=GRAY, linewidth=0.8, linestyle="--", zorder=1)
        for i, (place, row) in enumerate(zip(places, rows, strict=True)):
            share = getattr(row, quantity)
            low, high = wilson_interval(round(share * row.images), row.images)
            if quantity == "agreement" and i == 0:
                low = high = share
            axes.errorbar(
                place,
                100 * share,
                yerr=[[100 * max(0, share - low)], [100 * max(0, high - share)]],
                fmt=MARKERS[i % len(MARKERS)],
                color=COLORS[i % len(COLORS)],
                linewidth=1,
                capsize=3,
                label=f"{row.search} ({row.evaluations_per_image:,.0f})",
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.08)
        axes.set_xlabel("evaluations per image")
        style_axes(axes, grid="both", spines=axes.spines)
        axes.set_title(
            {"accuracy": "Accuracy, %", "agreement": "Agreement with exhaustive search, %"}[quantity], fontsize=11
        )
    figure.axes[1].legend(
        fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), title="search (evaluations per image)"
    )
    figure.suptitle(f"Searches on the same draws of the same {rows[0].images:,} images (lines: 95 %)")
    save_figure(figure, path)


def _apart(values: Sequence[float]) -> list[float]:
    """Shift values up by a few percent where their markers would overlap."""
    places: list[float] = []
    for value in values:
        while any(abs(value / place - 1) < 0.02 for place in places):
            value *= 1.025
        places.append(value)
    return places
