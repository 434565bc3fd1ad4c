"""Ends of ascents on a density and on the true one: log-densities, shares, and the points as small images."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from vl_core.charts import COLORS, INK, PAGE_WIDTH, SMALL, TEXT, new_figure, save_figure, style_axes

from vl_density.toy.study import KINDS, Points

_IMAGES = 8
_LABELS = ("held-out data", "samples", "ascent from data", "ascent from outside", "ascent on the truth")


def draw_toy(path: str | os.PathLike[str], found: Mapping[str, Sequence[Points]], templates: NDArray[Any]) -> None:
    """Draw a PNG with log-densities of the first model's points, shares of all models, and points as images.

    Args:
        path: The file to write.
        found: Points of each of `KINDS` by the model's name, at least one model.
        templates: Those of the first seed, ``(M, dimensions)``.

    Raises:
        ValueError: If there is no model.
    """
    if not found:
        raise ValueError("found must hold at least one model, got none")
    figure = new_figure(PAGE_WIDTH, 5.4)
    halves: Any = figure.subfigures(2, 1, height_ratios=(3.1, 2.3))
    upper, lower = halves
    scatter, shares = upper.subplots(1, 2)
    first = next(iter(found.values()))
    _draw_scatter(scatter, first)
    _draw_shares(shares, found)
    rows = {
        "templates, of which the data are noisy copies": templates,
        "where ascent on the model ends, from outside": first[3].values,
        "where ascent on the true density ends, from the same points": first[4].values,
    }
    _draw_images(lower, rows)
    save_figure(figure, path)


def _draw_scatter(axes: Any, points: Sequence[Points]) -> None:
    for place, color in ((3, 1), (0, 0), (4, 2)):
        one = points[place]
        # Points of the first seed, and no more than some hundreds.
        some = slice(min(len(one.values), 400))
        axes.plot(one.true_log_prob[some], one.log_prob[some], ".", color=COLORS[color], markersize=4, alpha=0.6,
                  markeredgewidth=0, label=_LABELS[place])  # fmt: skip
    bottom, top = axes.get_ylim()
    axes.axline((top, top), slope=1, color=INK, linewidth=0.7, zorder=0)
    axes.set_ylim(bottom - 0.6 * (top - bottom), top)
    axes.set_xlabel("true log-density, nats")
    axes.set_ylabel("log-density of the model, nats")
    axes.legend(fontsize=SMALL, edgecolor="none", loc="lower left", handletextpad=0.2, markerscale=2)
    style_axes(axes, grid="both")


def _draw_shares(axes: Any, found: Mapping[str, Sequence[Points]]) -> None:
    width = 0.8 / len(found)
    for index, (name, points) in enumerate(found.items()):
        for place, one in enumerate(points):
            share = one.share_left()
            where = place + (index - (len(found) - 1) / 2) * width
            axes.barh([where], [share.estimate], width * 0.9, color=COLORS[index % len(COLORS)],
                      label=name if place == 0 else None)  # fmt: skip
            axes.plot([share.low, share.high], [where, where], color=INK, linewidth=1.2)
    axes.set_yticks(range(len(KINDS)), _LABELS)
    axes.invert_yaxis()
    axes.set_xlabel("share outside of the data")
    axes.set_xlim(0, 1)
    axes.legend(fontsize=SMALL, frameon=False, loc="upper right")
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", length=0)


def _draw_images(figure: Any, rows: Mapping[str, NDArray[Any]]) -> None:
    dimensions = next(iter(rows.values())).shape[1]
    height = max(side for side in range(1, math.isqrt(dimensions) + 1) if dimensions % side == 0)
    panels = figure.subplots(len(rows), _IMAGES, squeeze=False)
    for line, (name, points) in zip(panels, rows.items(), strict=True):
        for panel in line:
            panel.set_axis_off()
        heading = line[0].text(0.0, 1.12, name, transform=line[0].transAxes, fontsize=TEXT, color=INK)
        heading.set_in_layout(False)
        for panel, point in zip(line, points, strict=False):
            panel.imshow(point.reshape(height, -1), cmap="gray", vmin=-1.5, vmax=1.5, interpolation="nearest")
