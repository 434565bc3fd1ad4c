"""Singular values of features, and the share that the largest of them explain."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from vl_core.charts import (
    COLORS,
    GRAY,
    PAGE_WIDTH,
    SMALL,
    TEXT,
    label_text,
    legend_text,
    new_figure,
    save_figure,
    style_axes,
)

from vl_ssl.collapse.spectra import cumulative_share, spectrum_auc


def draw_spectra(path: str | os.PathLike[str], spectra: Mapping[str, Sequence[float]]) -> None:
    """Draw a PNG of two panels: singular values over the largest, and their cumulative share, whose area is the AUC.

    Args:
        path: The file to write.
        spectra: Singular values by name; zeros count as dimensions, and are left out of the logarithmic panel.

    Raises:
        ValueError: If there is no spectrum.
    """
    if not spectra:
        raise ValueError("spectra must hold at least one spectrum, got none")
    figure = new_figure(PAGE_WIDTH, 3.2 + 0.16 * len(spectra))
    left, right = figure.subplots(1, 2)
    lines = []
    for place, (name, values) in enumerate(spectra.items()):
        ordered = np.sort(np.asarray(values, dtype=np.float64))[::-1]
        index = np.arange(1, len(ordered) + 1)
        style = {"color": COLORS[place % len(COLORS)], "linestyle": ("-", "--", ":")[place // len(COLORS) % 3]}
        shown = ordered > 0
        if shown.any():
            marker = {"marker": "o", "markersize": 3.5} if shown.sum() == 1 else {}
            left.plot(index[shown], ordered[shown] / ordered[0], linewidth=1.5, **style, **marker)
        shares = cumulative_share(ordered.copy()).numpy()
        label = f"{label_text(name, at_most=40)}: AUC {spectrum_auc(ordered.copy()):.3f}"
        lines += right.plot(
            np.append(0, index) / len(ordered), np.append(0, shares), linewidth=1.5, label=legend_text(label), **style
        )
    right.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle=":")
    right.text(0.62, 0.56, "flat", fontsize=SMALL, color=GRAY)
    left.set(xscale="log", yscale="log")
    left.set_xlabel("index", fontsize=TEXT)
    left.set_ylabel("singular value / largest", fontsize=TEXT)
    right.set_xlabel("share of dimensions", fontsize=TEXT)
    right.set_ylabel("cumulative share of Σ σ", fontsize=TEXT)
    for axes in (left, right):
        style_axes(axes, grid="both")
    figure.legend(handles=lines, loc="outside lower center", fontsize=SMALL, frameon=False, ncols=2)
    save_figure(figure, path)
