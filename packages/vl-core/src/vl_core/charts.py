"""Charts in one style: figures that need no display, saved as PNG in one step.

A chart is a function that makes a figure with `new_figure`, draws on its axes with matplotlib, and ends with
`save_figure`. `COLORS` and `MARKERS` tell series apart, and `style_axes` removes what does not carry data. matplotlib
comes with the extra ``charts``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from vl_core._atomic import atomic_write
from vl_core._extras import import_extra
from vl_core.tables import utf8

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLORS",
    "CORRECT",
    "GRAY",
    "MARKERS",
    "NEUTRAL",
    "WRONG",
    "label_text",
    "legend_text",
    "new_figure",
    "save_figure",
    "style_axes",
]

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Colors of series: those of Okabe and Ito, which differ for any color vision, and a gray."""

MARKERS = "os^Dv<>p"
"""Markers of series, one per color."""

CORRECT = "#2a7f62"
"""Color of correct predictions."""

WRONG = "#b5402a"
"""Color of wrong predictions."""

NEUTRAL = "#33658a"
"""Color of data that is neither."""

GRAY = "#7f7f7f"
"""Color of baselines and reference lines."""

_DPI = 120


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure with a constrained layout that draws without a display.

    Args:
        width: Width in inches.
        height: Height in inches.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> figure = new_figure(4.0, 3.0)
        >>> axes = figure.subplots()
    """
    import_extra("matplotlib", "charts")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.05))
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as a PNG of 120 dots per inch, replacing the file in one step.

    Characters that the font lacks are drawn as boxes, without a warning.

    Args:
        figure: The figure.
        path: File to write or replace; its folder must exist.

    Raises:
        OSError: If the file cannot be written.
    """
    with atomic_write(path, "wb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure.savefig(file, format="png", dpi=_DPI)


def style_axes(
    axes: Axes,
    *,
    grid: Literal["x", "y", "both"] | None = None,
    spines: Collection[str] = ("left", "bottom"),
) -> None:
    """Remove the lines around the axes that carry no data, and draw a faint grid behind the data.

    Args:
        axes: The axes.
        grid: Axis that the grid lines mark; by default, there are none.
        spines: Lines around the axes that stay, of ``left``, ``right``, ``bottom`` and ``top``.
    """
    for side, spine in axes.spines.items():
        spine.set_visible(side in spines)
    if grid is not None:
        axes.grid(axis=grid, alpha=0.3)
        axes.set_axisbelow(True)


def label_text(name: str, *, at_most: int | None = 20) -> str:
    """Return a name in drawable characters, shortened unless `at_most` is None.

    Bytes of a file name that are not UTF-8, which Python keeps as lone surrogates, are escaped. Draw the text with
    ``parse_math=False``: dollar signs in names are not formulas.

    Example:
        >>> label_text("a" * 30, at_most=5)
        'aaaa…'
    """
    name = utf8(name)
    return name if at_most is None or len(name) <= at_most else name[: at_most - 1] + "…"


def legend_text(name: str) -> str:
    """Return a name as a legend shows it unchanged.

    A legend leaves out labels that start with an underscore, and reads text between dollar signs as a formula.
    """
    return f"{' ' if name.startswith('_') else ''}{name}".replace("$", r"\$")
