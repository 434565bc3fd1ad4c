"""Rewards, accuracy and hits of a run over its iterations."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from vl_core.charts import (
    COLORS,
    GRAY,
    MARKERS,
    PAGE_WIDTH,
    SMALL,
    TEXT,
    TITLE,
    label_text,
    new_figure,
    save_figure,
    style_axes,
)

from vl_explorer.exploring.summary import IterationSummary


def draw_progress(
    path: str | os.PathLike[str],
    summaries: Sequence[IterationSummary],
    *,
    hits: Sequence[float] | None = None,
    chance: float | None = None,
    title: str = "",
) -> None:
    """Draw a PNG of a run over its iterations: rewards, accuracy where it is known, and hits or the images that came.

    Args:
        path: File to write or replace; its folder must exist.
        summaries: Summaries of the finished iterations, from the first on.
        hits: Share of relevant images in each iteration, 0 to 1, where somebody knows which are.
        chance: Share of relevant images in the whole web, drawn as a line beside `hits`.
        title: Heading.

    Raises:
        ValueError: If there is no iteration, or hits of another number of iterations.

    Example:
        ``draw_progress("curve.png", [IterationSummary.from_json(row.summary) for row in store.iterations(run.id)])``
    """
    if not summaries:
        raise ValueError("summaries must hold at least one iteration, got none; draw once one is finished")
    if hits is not None and len(hits) != len(summaries):
        raise ValueError(f"hits must have one share an iteration, {len(summaries)}, got {len(hits)}")
    accuracies = [math.nan if row.accuracy is None else 100 * row.accuracy for row in summaries]
    measured = any(math.isfinite(value) for value in accuracies)
    figure = new_figure(PAGE_WIDTH, 2.75)
    panels = list(figure.subplots(1, 3 if measured else 2))
    rewards = panels.pop(0)
    _line(rewards, [row.image_reward for row in summaries], 0, "mean of all images")
    _line(rewards, [row.best_reward for row in summaries], 1, "best tenth")
    _finish(rewards, "reward", legend=True)
    if measured:
        accuracy = panels.pop(0)
        _line(accuracy, accuracies, 2)
        _finish(accuracy, "k-NN accuracy, %")
    last = panels.pop(0)
    if hits is not None:
        _line(last, [100 * share for share in hits], 0, "images that are relevant")
        if chance is not None:
            last.axhline(100 * chance, color=GRAY, linewidth=1, linestyle="--", label="in the whole web")
        last.set_ylim(bottom=0)
        _finish(last, "hits, %", legend=True)
    else:
        _line(last, [float(row.found) for row in summaries], 0, "found")
        _line(last, [float(row.new) for row in summaries], 1, "new")
        last.set_ylim(bottom=0)
        _finish(last, "images", legend=True)
    if title:
        figure.suptitle(label_text(title, at_most=90), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)


def _line(axes: Any, values: Sequence[float], place: int, name: str | None = None) -> None:
    axes.plot(
        range(len(values)), values, color=COLORS[place], marker=MARKERS[place], markersize=3, linewidth=1.5, label=name
    )


def _finish(axes: Any, heading: str, *, legend: bool = False) -> None:
    axes.set_title(heading)
    axes.set_xlabel("iteration")
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.margins(y=0.12)
    style_axes(axes, grid="y")
    axes.title.set_fontsize(TEXT)
    if legend:
        axes.legend(fontsize=SMALL, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22), handlelength=1.4)
