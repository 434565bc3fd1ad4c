"""AUROC of scores on sets of images outside, with intervals."""

from __future__ import annotations

import os
from collections.abc import Sequence

from vl_core.charts import COLORS, GRAY, INK, PAGE_WIDTH, TEXT, TITLE, label_text, new_figure, save_figure, style_axes

from vl_density.ood.evaluation import OODResult


def draw_ood(path: str | os.PathLike[str], results: Sequence[OODResult], *, title: str = "") -> None:
    """Draw a PNG with a panel for each set and in it a row for each score: its AUROC and the interval.

    Args:
        path: The file to write.
        results: Of `evaluate_scores`, at least one; every set has the same scores.
        title: Heading.

    Raises:
        ValueError: If there is no result.
    """
    if not results:
        raise ValueError("results must hold at least one, got none")
    sets = list(dict.fromkeys(one.outside for one in results))
    scores = list(dict.fromkeys(one.score for one in results))
    found = {(one.outside, one.score): one.metrics["AUROC"] for one in results}
    figure = new_figure(PAGE_WIDTH, 1.2 + 0.32 * len(scores))
    panels = figure.subplots(1, len(sets), sharey=True, sharex=True, squeeze=False)[0]
    for panel, name in zip(panels, sets, strict=True):
        panel.axvline(0.5, color=GRAY, linewidth=0.8, linestyle="--")
        for row, score in enumerate(scores):
            own, color = found[name, score], COLORS[row % len(COLORS)]
            panel.plot([own.low, own.high], [row, row], color=color, linewidth=6, alpha=0.35, solid_capstyle="butt")
            panel.plot([own.estimate], [row], color=INK, marker="|", markersize=11, markeredgewidth=1.6)
        panel.set_title(label_text(name), fontsize=TEXT, parse_math=False)
        panel.set_xlabel("AUROC")
        panel.set_xlim(-0.03, 1.03)
        panel.set_xticks([0, 0.5, 1])
        style_axes(panel, grid="x", spines=("bottom",))
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(scores)), [label_text(name) for name in scores], fontsize=TEXT, parse_math=False)
    panels[0].set_ylim(len(scores) - 0.4, -0.6)
    if title:
        figure.suptitle(label_text(title, at_most=80), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)
