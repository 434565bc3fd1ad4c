"""Similarity of models' attention, by layer and head."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import log

import numpy as np
from matplotlib.ticker import MaxNLocator
from vl_core.charts import (
    COLORS,
    GRAY,
    MARKERS,
    PAGE_WIDTH,
    SMALL,
    TEXT,
    TITLE,
    in_words,
    new_figure,
    save_figure,
    spread,
    style_axes,
)

from vl_attention.analysis.similarity import MapSimilarity, layer_means

_UNIT = "Jensen-Shannon divergence, nats"
# Maximum number of panels in a row.
_ACROSS = 3


def draw_head_similarity(path: str | os.PathLike[str], rows: Sequence[MapSimilarity]) -> None:
    """Draw a PNG with the divergence of each head (horizontal) and layer (vertical) for each pair of models.

    Args:
        path: The file to write.
        rows: Rows of `map_similarity`.

    Raises:
        ValueError: If there are no rows.
    """
    pairs, _ = layer_means(_some(rows))
    tables = []
    for pair in pairs:
        own = [row for row in rows if (row.first, row.second) == pair]
        layers = sorted({(row.first_layer, row.second_layer) for row in own})
        table = np.full((len(layers), 1 + max(row.head or 0 for row in own)), np.nan)
        for row in own:
            table[layers.index((row.first_layer, row.second_layer)), row.head or 0] = row.divergence
        tables.append((layers, table, own[0].head is None))
    limit = max(float(np.nanmax(table)) for _, table, _ in tables) or log(2)
    across = min(len(pairs), _ACROSS)
    down = -(-len(pairs) // across)
    widths = [max(2.2, 0.3 * max(table.shape[1] for _, table, _ in tables[i::across]) + 0.9) for i in range(across)]
    tallest = max(len(layers) for layers, *_ in tables)
    figure = new_figure(min(PAGE_WIDTH, sum(widths) + 1.1), down * max(2.4, 0.22 * tallest + 1.4))
    cells = figure.subplots(down, across, squeeze=False, width_ratios=widths).ravel()
    for axes in cells[len(pairs) :]:
        axes.set_axis_off()
    for axes, (first, second), (layers, table, averaged) in zip(cells[: len(pairs)], pairs, tables, strict=True):
        shown = axes.imshow(table, cmap="cividis", vmin=0, vmax=limit, aspect="auto", origin="lower")
        same = all(a == b for a, b in layers)
        ticks = range(0, len(layers), 1 + len(layers) // 25)
        axes.set_yticks(ticks, [str(layers[i][0]) if same else f"{layers[i][0]}, {layers[i][1]}" for i in ticks])
        axes.set_ylabel("layer" if same else "layers of the two", fontsize=TEXT)
        axes.set_xlabel("maps averaged over heads" if averaged else "head", fontsize=TEXT)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        if averaged:
            axes.set_xticks([])
        axes.tick_params(labelsize=SMALL)
        axes.set_title(f"{in_words(first)},\n{in_words(second)}", fontsize=TEXT, parse_math=False)
    bar = figure.colorbar(shown, ax=list(cells), fraction=0.05, pad=0.02)
    bar.set_label(_UNIT.replace(" ", "\n", 1), fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    save_figure(figure, path)


def draw_layer_similarity(path: str | os.PathLike[str], rows: Sequence[MapSimilarity]) -> None:
    """Draw a PNG with a line per pair of models: the divergence averaged over heads, by layer of the first model.

    Args:
        path: The file to write.
        rows: Rows of `map_similarity`.

    Raises:
        ValueError: If there are no rows.
    """
    pairs, matrix = layer_means(_some(rows))
    figure = new_figure(PAGE_WIDTH, 3.6)
    # Names stand beside the ends of their lines, in room that is theirs.
    axes, names = figure.subplots(1, 2, sharey=True, width_ratios=[1, 0.42])
    names.set_axis_off()
    averaged = {(row.first, row.second) for row in rows if row.head is None}
    common = {first for first, _ in pairs} if len({first for first, _ in pairs}) == 1 else set()
    ends = []
    for index, values in enumerate(matrix):
        there = np.flatnonzero(~np.isnan(values))
        axes.plot(
            there,
            values[there],
            color=COLORS[index % len(COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            linestyle=("-", "--", ":")[index // len(COLORS) % 3],
            markersize=5,
        )
        ends.append(float(values[there[-1]]) if len(there) else 0.0)
    for index, ((first, second), place) in enumerate(zip(pairs, spread(ends, 0.045 if common else 0.09), strict=True)):
        name = in_words(second) if common else f"{in_words(first)} and\n{in_words(second)}"
        text = f"{name}{' *' if (first, second) in averaged else ''}"
        names.text(
            *(0.02, place, text),
            transform=names.get_yaxis_transform(),
            va="center",
            fontsize=TEXT,
            color=COLORS[index % len(COLORS)],
            parse_math=False,
        )
    if averaged:
        names.text(0.02, 0.74, "* maps averaged over\nheads, hence lower", va="top", fontsize=SMALL,
                   transform=names.get_yaxis_transform())  # fmt: skip
    axes.axhline(log(2), color=GRAY, linewidth=0.8, linestyle="--")
    axes.text(0.99, log(2), "ln 2: no key in common ", transform=axes.get_yaxis_transform(), ha="right", va="bottom",
              fontsize=SMALL, color="#6a6a6a")  # fmt: skip
    axes.set_ylim(-0.01, 0.76)
    axes.set_xlabel("layer" if common else "layer of the first model")
    axes.set_ylabel(_UNIT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style_axes(axes, grid="y")
    if common:
        axes.set_title(
            f"Attention maps compared with those of {in_words(common.pop())}", fontsize=TITLE, parse_math=False
        )
    save_figure(figure, path)


def _some(rows: Sequence[MapSimilarity]) -> Sequence[MapSimilarity]:
    if not rows:
        raise ValueError("rows must be one or more rows of map_similarity, got none")
    return rows
