"""Images of an evaluation: what is taken for what, whether confidence is right, and what images cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from vl_core.results import wilson_interval
from vl_core.runs import atomic_write

from vl_diffusion.classification.calibration import reliability_curve
from vl_diffusion.classification.result import Classification

_BLUE, _RED, _GREY = "#33658a", "#b5402a", "#9a9a9a"
# With more classes than this the confusion matrix has no names.
_NAMED = 30


def draw_evaluation(path: Path, result: Classification, labels: np.ndarray, figures: Any, *, bins: int) -> None:
    """Write a PNG of three panels: confusion matrix, reliability, and evaluations of right and wrong images.

    Args:
        path: The file to write.
        result: The classification of B images.
        labels: int64 ``(B,)``, the true classes.
        figures: Its figures: ``images``, ``accuracy`` with ``accuracy_low`` and ``accuracy_high``,
            ``evaluations_per_image``, ``expected_calibration_error``.
        bins: Bins of the reliability panel.
    """
    figure = Figure(figsize=(15, 5), layout="constrained")
    FigureCanvasAgg(figure)
    confusion, reliability, cost = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    _draw_confusion(confusion, result, labels)
    _draw_reliability(reliability, [("as given", result, _BLUE)], labels, bins)
    reliability.set_title(f"Calibration error {100 * figures.expected_calibration_error:.1f} %", fontsize=10)
    _draw_cost(cost, result, labels)
    low, high = (f"{100 * share:.1f}" for share in (figures.accuracy_low, figures.accuracy_high))
    figure.suptitle(
        f"{100 * figures.accuracy:.1f} % of {figures.images:,} images right (95 %: {low} to {high} %), "
        f"{figures.evaluations_per_image:,.1f} evaluations each"
    )
    _save(figure, path)


def draw_calibration(
    path: Path, before: Classification, after: Classification, labels: np.ndarray, temperature: float, *, bins: int
) -> None:
    """Write a PNG of the reliability before and after a temperature was fitted."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    curves = [("before", before, _GREY), (f"temperature {temperature:.3g}", after, _BLUE)]
    _draw_reliability(axes, curves, labels, bins)
    _save(figure, path)


def _draw_confusion(axes: Axes, result: Classification, labels: np.ndarray) -> None:
    size = len(result.classes)
    counts = np.zeros((size, size))
    np.add.at(counts, (labels, result.predictions), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("Images, shaded by their share of the true class", fontsize=10)
    if size <= _NAMED:
        axes.set_xticks(range(size), result.classes, rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(range(size), result.classes, fontsize=8, parse_math=False)
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            text = f"{counts[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8 if size <= 12 else 6, color=color)


def _draw_reliability(axes: Axes, curves: list[tuple[str, Classification, str]], labels: np.ndarray, bins: int) -> None:
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle="--")
    for name, result, color in curves:
        curve = reliability_curve(result.probabilities, labels, bins=bins)
        sizes = 12 + 200 * curve.count / curve.count.sum()
        axes.scatter(curve.confidence, curve.accuracy, s=sizes, color=color, label=name, zorder=3)
        # A bin of few images says little.
        right = np.round(curve.accuracy * curve.count).astype(int)
        ends = [wilson_interval(int(r), int(n)) for r, n in zip(right, curve.count, strict=True)]
        axes.vlines(curve.confidence, *zip(*ends, strict=True), color=color, linewidth=0.8, alpha=0.6)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_aspect("equal")
    axes.set_xlabel("confidence: probability of the predicted class")
    axes.set_ylabel("share right (larger dots: more images; lines: 95 %)")
    if len(curves) > 1:
        axes.legend(frameon=False)


def _draw_cost(axes: Axes, result: Classification, labels: np.ndarray) -> None:
    cost = result.total_evaluations
    right = result.predictions == labels
    edges = np.linspace(0, cost.max() + 1, 30).tolist()
    kinds = [("right", cost[right], _BLUE), ("wrong", cost[~right], _RED)]
    shown = [(name, values, color) for name, values, color in kinds if len(values)]
    axes.hist(
        [values for _, values, _ in shown],
        bins=edges,
        stacked=True,
        color=[color for *_, color in shown],
        label=[name for name, *_ in shown],
    )
    axes.set_xlabel("evaluations of an image")
    axes.set_ylabel("images")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("What images cost", fontsize=10)
    axes.legend(frameon=False)


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=110)
