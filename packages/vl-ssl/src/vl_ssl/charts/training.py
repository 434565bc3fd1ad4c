"""Training runs seen from their features: loss, AUC, accuracy of k-NN, and spectra over time, runs side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from vl_core.charts import (
    COLORS,
    INK,
    PAGE_WIDTH,
    SMALL,
    TEXT,
    TITLE,
    label_text,
    legend_text,
    new_figure,
    save_figure,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPACES = ("features", "projections")
"""Kinds of features that are drawn: those of the backbone, solid, and the projections, dashed."""

_LINES: dict[str, Any] = {"features": "-", "projections": (0, (3, 1.5))}
_FLOOR = 1e-4  # of the largest singular value; what is smaller lies on the edge
_MOST = 2  # runs, or spaces of one run, with spectra


@dataclass(frozen=True)
class TrainingCurve:
    """A run as `draw_training` shows it."""

    name: str
    """Name of the run."""
    rows: Sequence[Mapping[str, float]]
    """Rows of its ``metrics.jsonl``, as `vl_core.runs.read_metrics` gives them."""
    spectra: Mapping[str, Mapping[int, Sequence[float]]] = field(default_factory=dict)
    """Singular values by kind of features and update."""
    alarms: Sequence[int] = ()
    """Updates at which there was an alarm."""

    def points(self, column: str) -> tuple[list[float], list[float]]:
        """Updates, counted from 1, and values of a column, where it is finite."""
        found = [(row["step"] + 1, row[column]) for row in self.rows if math.isfinite(row.get(column, math.nan))]
        return [step for step, _ in found], [value for _, value in found]


def draw_training(path: str | os.PathLike[str], curves: Sequence[TrainingCurve], *, title: str = "") -> None:
    """Draw a PNG of one or two runs: loss, AUC, k-NN, and below them spectra from early (dark) to late (bright).

    A dotted vertical line marks each run's first alarm. Of two runs the spectra of the projections are shown side by
    side; of one run those of features and projections. Singular values are shares of the largest.

    Args:
        path: File to write; its folder must exist.
        curves: One or two runs.
        title: Heading.

    Raises:
        ValueError: If there is no run, or more than two.

    Example:
        ``draw_training("train.png", [TrainingCurve("simsiam", read_metrics("vl-ssl-train"))])``
    """
    if not 1 <= len(curves) <= _MOST:
        raise ValueError(f"curves must hold one or two runs, got {len(curves)}; draw others in a figure of their own")
    figure = new_figure(PAGE_WIDTH, 5.1)
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.0, 1.05])
    top, bottom = parts
    loss, auc, knn = top.subplots(1, 3)
    for curve, color in zip(curves, COLORS, strict=False):
        loss.plot(*curve.points("loss"), color=color)
        for space in SPACES:
            auc.plot(*curve.points(f"collapse/{space}/auc"), color=color, linestyle=_LINES[space])
        knn.plot(*curve.points("knn"), color=color, marker="o", markersize=3)
        for axes in (loss, auc, knn):
            for step in curve.alarms[:1]:
                axes.axvline(step + 1, color=color, linewidth=1, linestyle=":")
    for axes, heading in ((loss, "loss"), (auc, "AUC, 1 is collapsed"), (knn, "k-NN accuracy")):
        axes.set_title(heading)
        axes.set_xlabel("update")
        axes.locator_params(axis="x", nbins=4)
        style_axes(axes, grid="y")
        axes.title.set_fontsize(TEXT)
    _draw_legend(top, curves)
    if not any(curve.points("knn")[0] for curve in curves):
        knn.text(0.5, 0.5, "no labels", transform=knn.transAxes, ha="center", fontsize=SMALL)
    _draw_spectra_over_time(bottom, curves)
    if title:
        figure.suptitle(label_text(title, at_most=90), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)


def _draw_legend(figure: Any, curves: Sequence[TrainingCurve]) -> None:
    """Colors of runs and kinds of lines in one row, beside no data."""
    from matplotlib.lines import Line2D

    names = [legend_text(label_text(curve.name, at_most=24)) for curve in curves]
    lines = [Line2D([], [], color=color, label=name) for color, name in zip(COLORS, names, strict=False)]
    lines += [Line2D([], [], color=INK, linestyle=_LINES[space], label=f"AUC of {space}") for space in SPACES]
    if any(curve.alarms for curve in curves):
        lines.append(Line2D([], [], color=INK, linestyle=":", linewidth=1, label="alarm"))
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=SMALL, frameon=False)


def _draw_spectra_over_time(figure: Figure, curves: Sequence[TrainingCurve]) -> None:
    """Two panels with one scale of colors, by the update."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    shown = [(curve, space) for curve in curves for space in SPACES if len(curves) == 1 or space == "projections"]
    steps = [step + 1 for curve, space in shown for step in curve.spectra.get(space, ())]
    scale = Normalize(0, max(steps, default=1))
    panels = figure.subplots(1, _MOST, sharey=True)
    for axes, (curve, space) in zip(panels, shown, strict=True):
        found = curve.spectra.get(space, {})
        for step in sorted(found):
            # The brightest yellow is hard to see on white.
            sizes = np.asarray(found[step], dtype=np.float64)
            shares = np.maximum(sizes / (sizes.max() or 1.0), _FLOOR)
            color = colormaps["viridis"](0.92 * scale(step + 1))
            axes.plot(np.arange(1, len(shares) + 1), shares, color=color, linewidth=1.3)
        axes.set_yscale("log")
        axes.set_ylim(0.8 * _FLOOR, 1.3)
        axes.set_xlabel("index of the singular value")
        style_axes(axes, grid="y")
        name = f"{curve.name}: {space}" if len(curves) > 1 else space
        axes.set_title(label_text(name, at_most=40), parse_math=False, fontsize=TEXT)
    panels[0].set_ylabel("share of the largest")
    bar = figure.colorbar(ScalarMappable(scale, _cut_viridis()), ax=panels, pad=0.02, aspect=25)
    bar.set_label("update", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)


def _cut_viridis() -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap([colormaps["viridis"](0.92 * place / 255) for place in range(256)])
