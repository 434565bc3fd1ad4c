"""Spectra: singular values of features by their index, on one scale however large the features are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from vl_core.charts import (
    COLORS,
    PAGE_WIDTH,
    SMALL,
    TITLE,
    label_text,
    legend_text,
    new_figure,
    save_figure,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = 1e-4
"""Smallest share of the largest singular value that is drawn; what is below lies on the edge."""


def draw_spectra(
    path: str | os.PathLike[str], spectra: Mapping[str, Sequence[float]], *, title: str = "singular values"
) -> None:
    """Draw a PNG with a line for each spectrum, its singular values as shares of the largest.

    Args:
        path: File to write; its folder must exist.
        spectra: Singular values, descending, by name; see `vl_ssl.CollapseReport`.
        title: Heading.

    Raises:
        ValueError: If there is no spectrum, or one is empty.

    Example:
        ``draw_spectra("spectra.png", {"healthy": healthy.singular_values, "collapsed": other.singular_values})``
    """
    if not spectra:
        raise ValueError("spectra must hold at least one, got none")
    figure = new_figure(PAGE_WIDTH, 3.2)
    axes = figure.subplots()
    for place, (name, values) in enumerate(spectra.items()):
        plot_spectrum(axes, values, color=COLORS[place % len(COLORS)], label=legend_text(label_text(name, at_most=40)))
    style_spectra(axes)
    axes.set_ylabel("share of the largest")
    axes.set_title(label_text(title, at_most=80), fontsize=TITLE, parse_math=False)
    axes.legend(fontsize=SMALL, frameon=False)
    save_figure(figure, path)


def shares(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Singular values as shares of the largest, at least `FLOOR`; all on the floor for a point.

    Raises:
        ValueError: If there are none.
    """
    sizes = np.asarray(values, dtype=np.float64).reshape(-1)
    if not sizes.size:
        raise ValueError("values must hold at least one singular value, got none")
    largest = sizes.max()
    return np.maximum(sizes / largest if largest > 0 else np.zeros_like(sizes), FLOOR)


def plot_spectrum(axes: Axes, values: Sequence[float], *, color: Any, label: str | None = None) -> None:
    """Add the line of a spectrum to axes that `style_spectra` finishes."""
    drawn = shares(values)
    axes.plot(np.arange(1, len(drawn) + 1), drawn, color=color, linewidth=1.3, label=label)


def style_spectra(axes: Axes) -> None:
    """Set scales, limits and labels of axes with spectra."""
    axes.set_yscale("log")
    axes.set_ylim(FLOOR * 0.8, 1.3)
    axes.set_xlabel("index of the singular value")
    style_axes(axes, grid="y")
