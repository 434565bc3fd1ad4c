"""Pictures of an evaluation: what is taken for what, whether confidence is right, and what pictures cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from vl_core.runs import atomic_write

from vl_diffusion.calibration import reliability_curve
from vl_diffusion.result import Classification

_BLUE, _RED, _GREY = "#33658a", "#b5402a", "#9a9a9a"
# With more classes than this the confusion matrix has no names.
_NAMED = 30


def draw_evaluation(path: Path, result: Classification, labels: np.ndarray, figures: Any, *, bins: int) -> None:
    """Write a PNG of three panels: confusion matrix, reliability, and evaluations of right and wrong pictures.

    Args:
        path: The file to write.
        result: The classification of B pictures.
        labels: int64 ``(B,)``, the true classes.
        figures: Its figures: ``accuracy``, ``images``, ``evaluations_per_image``, ``expected_calibration_error``.
        bins: Bins of the reliability panel.
    """
    figure = Figure(figsize=(15, 5), layout="constrained")
    FigureCanvasAgg(figure)
    confusion, reliability, cost = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    _draw_confusion(confusion, result, labels)
    _draw_reliability(reliability, [("as given", result, _BLUE)], labels, bins)
    reliability.set_title(f"Calibration error {100 * figures.expected_calibration_error:.1f} %", fontsize=10)
    _draw_cost(cost, result, labels)
    figure.suptitle(
        f"{100 * figures.accuracy:.2f} % of {figures.images} pictures right, "
        f"{figures.evaluations_per_image:.1f} evaluations each"
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
    axes.set_title("Share of each true class", fontsize=10)
    if size <= _NAMED:
        axes.set_xticks(range(size), result.classes, rotation=90, fontsize=7, parse_math=False)
        axes.set_yticks(range(size), result.classes, fontsize=7, parse_math=False)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = f"{counts[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)


def _draw_reliability(axes: Axes, curves: list[tuple[str, Classification, str]], labels: np.ndarray, bins: int) -> None:
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle="--")
    for name, result, colour in curves:
        curve = reliability_curve(result.probabilities, labels, bins=bins)
        axes.plot(curve.confidence, curve.accuracy, color=colour, linewidth=1, label=name)
        axes.scatter(curve.confidence, curve.accuracy, s=8 + 200 * curve.count / curve.count.sum(), color=colour)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("confidence: probability of the predicted class")
    axes.set_ylabel("share right (larger dots: more pictures)")
    if len(curves) > 1:
        axes.legend(frameon=False)


def _draw_cost(axes: Axes, result: Classification, labels: np.ndarray) -> None:
    cost = result.total_evaluations
    right = result.predictions == labels
    edges = np.linspace(0, cost.max() + 1, 30).tolist()
    kinds = [("right", cost[right], _BLUE), ("wrong", cost[~right], _RED)]
    shown = [(name, values, colour) for name, values, colour in kinds if len(values)]
    axes.hist(
        [values for _, values, _ in shown],
        bins=edges,
        stacked=True,
        color=[colour for *_, colour in shown],
        label=[name for name, *_ in shown],
    )
    axes.set_xlabel("evaluations of a picture")
    axes.set_ylabel("pictures")
    axes.set_title("What pictures cost", fontsize=10)
    axes.legend(frameon=False)


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=110)
