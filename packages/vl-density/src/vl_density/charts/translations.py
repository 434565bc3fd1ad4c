"""Measures of translated images while generators learn, and what they make of a few sources."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from vl_core.charts import COLORS, GRAY, INK, PAGE_WIDTH, SMALL, TEXT, new_figure, save_figure, show_image, style_axes

_AXES = {
    "bits": "bits per dimension",
    "distance": "distance to the true pair",
    "accuracy": "accuracy of a classifier",
    "sharpness": "sharpness",
}


def draw_translation(
    path: str | os.PathLike[str],
    steps: Sequence[Mapping[str, Any]],
    limits: Mapping[str, float],
    images: Mapping[str, Tensor],
) -> None:
    """Draw a PNG with a panel for each measure, and a row of images for each generator.

    Args:
        path: The file to write.
        steps: Rows with `signal`, `seed`, `update` and the measures; at least one.
        limits: Each measure of the true pairs, drawn as a dashed line.
        images: Images ``(N, C, H, W)`` in [0, 1] by name, equally many.

    Raises:
        ValueError: If there is no row.
    """
    if not steps:
        raise ValueError("steps must hold at least one row, got none")
    signals = list(dict.fromkeys(row["signal"] for row in steps))
    figure = new_figure(PAGE_WIDTH, 2.9 + 0.75 * len(images))
    halves: Any = figure.subfigures(2, 1, height_ratios=(2.7, 0.75 * len(images)))
    upper, lower = halves
    panels = upper.subplots(1, len(_AXES))
    for panel, (measure, label) in zip(panels, _AXES.items(), strict=True):
        panel.axhline(limits[measure], color=GRAY, linewidth=1, linestyle="--")
        for color, signal in zip(COLORS, signals, strict=False):
            rows = [row for row in steps if row["signal"] == signal]
            updates = sorted({row["update"] for row in rows})
            values = [[row[measure] for row in rows if row["update"] == update] for update in updates]
            panel.plot(updates, [np.mean(some) for some in values], "-", color=color, linewidth=1.6, label=signal)
            for update, some in zip(updates, values, strict=True):
                panel.plot([update, update], [min(some), max(some)], "-", color=color, linewidth=3, alpha=0.4)
        panel.set_title(label)
        panel.set_xlabel("updates")
        style_axes(panel, grid="y")
        panel.title.set_fontsize(SMALL)
    handles, labels = panels[0].get_legend_handles_labels()
    upper.legend(
        handles, labels, loc="outside lower center", ncols=len(signals), fontsize=SMALL, frameon=False, borderpad=0
    )
    _draw_rows(lower, images)
    save_figure(figure, path)


def _draw_rows(figure: Any, images: Mapping[str, Tensor]) -> None:
    columns = max(len(some) for some in images.values())
    panels = figure.subplots(len(images), columns, squeeze=False)
    for line, (name, some) in zip(panels, images.items(), strict=True):
        for panel in line:
            panel.set_axis_off()
        for panel, image in zip(line, some, strict=False):
            show_image(panel, image.movedim(0, -1).squeeze(-1).numpy())
        line[0].set_ylabel(name.replace(", ", ",\n"), fontsize=TEXT, color=INK, rotation=0, ha="right", va="center")
