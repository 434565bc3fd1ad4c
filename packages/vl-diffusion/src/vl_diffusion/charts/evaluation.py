"""Charts of an evaluation: confusion matrix, reliability diagram, and cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from vl_core.charts import (
    GRAY,
    NEUTRAL,
    PAGE_WIDTH,
    SMALL,
    TITLE,
    WRONG,
    label_text,
    new_figure,
    save_figure,
    style_axes,
)
from vl_core.results import wilson_interval

from vl_diffusion.classification.calibration import reliability_curve
from vl_diffusion.classification.result import Classification

# Maximum number of classes for which the confusion matrix shows names.
_NAMED = 30


def draw_evaluation(path: Path, result: Classification, labels: np.ndarray, figures: Any, *, bins: int) -> None:
    """Draw the confusion matrix, the reliability diagram, and the evaluations of correct and wrong images.

    Args:
        path: The file to write.
        result: The classification of B images.
        labels: int64 ``(B,)``, the true classes.
        figures: Its metrics: ``images``, ``accuracy`` with ``accuracy_low`` and ``accuracy_high``,
            ``evaluations_per_image``, ``expected_calibration_error``.
        bins: Number of bins of the reliability diagram.
    """
    named = len(result.classes) <= _NAMED
    tall = max(3.4, 0.17 * len(result.classes) + 1.6) if named else 4.5
    figure = new_figure(PAGE_WIDTH, tall + 3.8)
    panels = figure.subplot_mosaic([["confusion", "confusion"], ["reliability", "cost"]], height_ratios=[tall, 3.2])
    confusion, reliability, cost = (panels[name] for name in ("confusion", "reliability", "cost"))
    _draw_confusion(confusion, result, labels)
    _draw_reliability(reliability, [("as given", result, NEUTRAL)], labels, bins)
    reliability.set_title(f"Calibration error {100 * figures.expected_calibration_error:.1f} %", fontsize=TITLE)
    _draw_cost(cost, result, labels)
    low, high = (f"{100 * share:.1f}" for share in (figures.accuracy_low, figures.accuracy_high))
    figure.suptitle(
        f"{100 * figures.accuracy:.1f} % accuracy on {figures.images:,} images (95 %: {low} to {high} %),\n"
        f"{figures.evaluations_per_image:,.1f} evaluations per image",
        fontsize=TITLE + 1,
    )
    save_figure(figure, path)


def draw_calibration(
    path: Path, before: Classification, after: Classification, labels: np.ndarray, temperature: float, *, bins: int
) -> None:
    """Draw reliability diagrams before and after temperature scaling."""
    figure = new_figure(5, 5)
    axes = figure.subplots()
    curves = [("before", before, GRAY), (f"temperature {temperature:.3g}", after, NEUTRAL)]
    _draw_reliability(axes, curves, labels, bins)
    save_figure(figure, path)


def _draw_confusion(axes: Axes, result: Classification, labels: np.ndarray) -> None:
    size = len(result.classes)
    counts = np.zeros((size, size))
    np.add.at(counts, (labels, result.predictions), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("Confusion matrix, shaded by fraction of the true class")
    style_axes(axes, spines=axes.spines)
    if size <= _NAMED:
        names = [label_text(name) for name in result.classes]
        axes.set_xticks(range(size), names, rotation=90, fontsize=SMALL, parse_math=False)
        axes.set_yticks(range(size), names, fontsize=SMALL, parse_math=False)
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            text = f"{counts[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=color)


def _draw_reliability(axes: Axes, curves: list[tuple[str, Classification, str]], labels: np.ndarray, bins: int) -> None:
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle="--")
    for name, result, color in curves:
        curve = reliability_curve(result.probabilities, labels, bins=bins)
        sizes = 12 + 200 * curve.count / curve.count.sum()
        axes.scatter(curve.confidence, curve.accuracy, s=sizes, color=color, label=name, zorder=3)
        # Bins with few images are uncertain.
        correct = np.round(curve.accuracy * curve.count).astype(int)
        ends = [wilson_interval(int(c), int(n)) for c, n in zip(correct, curve.count, strict=True)]
        axes.vlines(curve.confidence, *zip(*ends, strict=True), color=color, linewidth=0.8, alpha=0.6)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_aspect("equal")
    axes.set_xlabel("probability of the predicted class")
    axes.set_ylabel("accuracy (larger dots:\nmore images; lines: 95 %)")
    style_axes(axes, grid="both")
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=SMALL)


def _draw_cost(axes: Axes, result: Classification, labels: np.ndarray) -> None:
    cost = result.total_evaluations
    correct = result.predictions == labels
    edges = np.linspace(0, cost.max() + 1, 30).tolist()
    kinds = [("correct", cost[correct], NEUTRAL), ("wrong", cost[~correct], WRONG)]
    shown = [(name, values, color) for name, values, color in kinds if len(values)]
    axes.hist(
        [values for _, values, _ in shown],
        bins=edges,
        stacked=True,
        color=[color for *_, color in shown],
        label=[name for name, *_ in shown],
    )
    axes.set_xlabel("evaluations per image")
    axes.set_ylabel("images")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Cost of an image")
    style_axes(axes, grid="y")
    axes.legend(frameon=False, fontsize=SMALL)
