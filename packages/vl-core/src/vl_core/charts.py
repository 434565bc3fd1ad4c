"""Charts in one style: figures that need no display, saved as PNG in one step.

A chart is a function that makes a figure with `new_figure`, draws on its axes with matplotlib, and ends with
`save_figure`. `COLORS` and `MARKERS` tell series apart, and `style_axes` removes what does not carry data. A figure is
as wide as a page of documentation, `PAGE_WIDTH`, and its type has one of the sizes `TITLE`, `TEXT` and `SMALL`; a wider
figure is shown scaled down, and `smallest_text` says to what size. matplotlib comes with the extra ``charts``.
"""

from __future__ import annotations

import os
import textwrap
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vl_core._atomic import atomic_write
from vl_core._extras import import_extra
from vl_core.intervals import Interval
from vl_core.tables import utf8

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BAR",
    "COLORS",
    "CORRECT",
    "GRAY",
    "INK",
    "LIGHT",
    "MARKERS",
    "NEUTRAL",
    "PAGE_WIDTH",
    "SMALL",
    "TEXT",
    "TITLE",
    "WRONG",
    "draw_intervals",
    "in_words",
    "label_text",
    "legend_text",
    "new_figure",
    "save_figure",
    "show_image",
    "smallest_text",
    "spread",
    "style_axes",
    "wrapped_label",
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

BAR = "#6fa3c7"
"""Color of bars, light enough for error bars in `INK` to be seen on them."""

LIGHT = "#d4d8dc"
"""Color of what steps back: bars of eliminated classes, frames of images."""

INK = "#222222"
"""Color of text, and of error bars: visible on bars in `BAR` or `LIGHT` and beside them."""

PAGE_WIDTH = 7.2
"""Width of a page of documentation in inches: figures of this width are shown with their type in its own size."""

TITLE, TEXT, SMALL = 10.5, 9.0, 8.0
"""Sizes of type in points, of titles, labels and the rest; nothing is smaller at `PAGE_WIDTH`."""

_DPI = 160
_FRAME = "#b4bac1"
# Modes of PIL whose arrays are gray, red, green and blue, or these with an alpha channel.
_DRAWN_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L", "F", "RGB", "RGBA")
# Words that do not stand in identifiers as they are written.
_SPELLED = {"gaussian": "Gaussian", "jpeg": "JPEG", "tent": "TENT", "tta": "TTA", "dusa": "DUSA"}


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
    """Write a figure as a PNG of 160 dots per inch, replacing the file in one step.

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
    """Remove the lines around the axes that carry no data, draw a faint grid behind the data, and set sizes of type.

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
    axes.tick_params(labelsize=SMALL, labelcolor=INK)
    axes.xaxis.label.set_fontsize(TEXT)
    axes.yaxis.label.set_fontsize(TEXT)
    axes.title.set_fontsize(TITLE)


def show_image(axes: Axes, pixels: Any) -> None:
    """Draw an image without ticks, in a thin frame, so that one with a white border has an edge.

    Args:
        axes: The axes.
        pixels: ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``, uint8 or floats in 0..1, or a PIL image of any mode. Gray
            integers of more than 8 bits are scaled by their maximum.
    """
    if getattr(pixels, "mode", "RGB") not in _DRAWN_MODES:
        pixels = pixels.convert("RGBA")
    pixels = np.asarray(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    largest = 255 if pixels.dtype == np.uint8 else max(pixels.max(), 1) if pixels.dtype.kind in "ui" else 1
    axes.imshow(pixels, cmap="gray" if pixels.ndim == 2 else None, vmin=0, vmax=largest, interpolation="nearest")
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=_FRAME, linewidth=0.8)


def draw_intervals(
    path: str | os.PathLike[str],
    panels: Mapping[str, Mapping[str, Interval]],
    *,
    title: str = "",
    label: str | None = None,
    ticks: Sequence[float] = (),
    reference: float | None = None,
) -> None:
    """Draw a PNG with a panel for each statistic or data set, and in it a row for each method: estimate and interval.

    Args:
        path: The file to write; its folder must exist.
        panels: Intervals by panel and method; every panel has the same methods.
        title: Heading.
        label: What all panels show, whose names then stand above them; by default, the names stand below.
        ticks: For panels with one scale, the places of their ticks, rising; they reach from the first to the last.
        reference: Where to draw a dashed line.

    Raises:
        ValueError: If there is no panel or no method.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        ``draw_intervals("auroc.png", {"digits": {"likelihood": bootstrap(...)}}, label="AUROC", ticks=(0, 0.5, 1))``
    """
    methods = list(next(iter(panels.values()), {}))
    if not methods:
        raise ValueError("panels must hold at least one with one method, got none")
    figure = new_figure(PAGE_WIDTH, (1.1 if label is None else 1.2) + 0.32 * len(methods))
    drawn = figure.subplots(1, len(panels), sharey=True, sharex=bool(ticks), squeeze=False)[0]
    for axes, (name, found) in zip(drawn, panels.items(), strict=True):
        if reference is not None:
            axes.axvline(reference, color=GRAY, linewidth=0.8, linestyle="--")
        for row, method in enumerate(methods):
            own, color = found[method], COLORS[row % len(COLORS)]
            axes.plot([own.low, own.high], [row, row], color=color, linewidth=6, alpha=0.35, solid_capstyle="butt")
            axes.plot([own.estimate], [row], color=INK, marker="|", markersize=11, markeredgewidth=1.6)
        axes.set_xlabel(name if label is None else label)
        if label is not None:
            axes.set_title(label_text(name), parse_math=False)
        if ticks:
            margin = 0.03 * (ticks[-1] - ticks[0])
            axes.set_xlim(ticks[0] - margin, ticks[-1] + margin)
            axes.set_xticks(ticks)
        else:
            axes.locator_params(axis="x", nbins=5)
        style_axes(axes, grid="x", spines=("bottom",))
        axes.tick_params(axis="y", length=0)
    names = [wrapped_label(name, width=20) for name in methods]
    drawn[0].set_yticks(range(len(methods)), names, fontsize=TEXT, parse_math=False)
    drawn[0].set_ylim(len(methods) - 0.4, -0.6)
    if title:
        figure.suptitle(label_text(title, at_most=80), fontsize=TITLE, parse_math=False)
    save_figure(figure, path)


def smallest_text(figure: Figure) -> float:
    """Size in points of the smallest visible text of a figure at `PAGE_WIDTH`; infinite without text.

    A figure that is wider than a page is shown smaller, and its type with it.
    """
    from matplotlib.text import Text

    off = [axis for axes in figure.axes if not axes.axison for axis in (axes.xaxis, axes.yaxis)]
    hidden = {id(text) for axis in off for text in axis.findobj(Text)}
    shown = [text for text in figure.findobj(Text) if isinstance(text, Text) and id(text) not in hidden]
    drawn = [text for text in shown if text.get_visible() and text.get_text().strip()]
    scale = min(1.0, PAGE_WIDTH / float(figure.get_size_inches()[0]))
    return min((scale * float(text.get_fontsize()) for text in drawn), default=float("inf"))


def spread(places: Sequence[float], least: float) -> list[float]:
    """Move places apart to a distance of at least `least`, in their order and around their means.

    For labels beside the ends of lines.

    Example:
        >>> spread([0.0, 0.1, 5.0], 1.0)
        [-0.45, 0.55, 5.0]
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    groups: list[tuple[float, int]] = []  # center and size of labels that touch
    for index in order:
        center, size = float(places[index]), 1
        while groups and groups[-1][0] + least * (groups[-1][1] - 1) / 2 + least > center - least * (size - 1) / 2:
            before, count = groups.pop()
            center, size = (before * count + center * size) / (count + size), count + size
        groups.append((center, size))
    moved = [center + least * (i - (size - 1) / 2) for center, size in groups for i in range(size)]
    apart = [0.0] * len(places)
    for index, place in zip(order, moved, strict=True):
        apart[index] = place
    return apart


def in_words(identifier: str) -> str:
    """Return an identifier as a reader would write it, and any other text, such as a path, unchanged.

    Example:
        >>> in_words("jpeg_compression"), in_words("default_online")
        ('JPEG compression', 'default online')
    """
    if not identifier.isidentifier():
        return identifier
    return " ".join(_SPELLED.get(word, word) for word in identifier.split("_") if word)


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


def wrapped_label(name: str, *, width: int = 18) -> str:
    """Name in at most two lines, each shortened where a word is too long for it.

    Example:
        >>> wrapped_label("fourier-sac on Pendulum-v1").splitlines()
        ['fourier-sac on', 'Pendulum-v1']
    """
    lines = textwrap.wrap(label_text(name, at_most=2 * width), width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(label_text(line, at_most=width) for line in lines[:2])


def legend_text(name: str) -> str:
    """Return a name as a legend shows it unchanged.

    A legend leaves out labels that start with an underscore, and reads text between dollar signs as a formula.
    """
    return f"{' ' if name.startswith('_') else ''}{name}".replace("$", r"\$")
