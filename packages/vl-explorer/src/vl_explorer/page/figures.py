"""Line charts as inline SVG, without a library: their colors are those of the page, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from vl_explorer.page.texts import escaped

_WIDTH, _HEIGHT = 480, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 34


@dataclass(frozen=True)
class Series:
    """A line of a chart."""

    name: str
    """Name in the legend."""
    values: Sequence[float | None]
    """A value an iteration; None and values that are not finite leave a gap."""


def line_chart(series: Sequence[Series], numbers: Sequence[int], *, title: str, of: int | None = None) -> str:
    """Draw lines over iterations as SVG.

    Args:
        series: At most three lines.
        numbers: Numbers of the iterations.
        title: Of the chart, for readers who do not see it.
        of: Iterations that are planned, for the width; by default as many as there are.

    Returns:
        An ``<svg>`` element; a sentence where there is nothing to draw.
    """
    finite = [value for line in series for value in line.values if _is_drawn(value)]
    if not finite:
        return '<p class="quiet">Nothing measured yet.</p>'
    last = max(*numbers, (of or 0) - 1, 1)
    ticks = nice_ticks(min(finite), max(finite))
    low, high = ticks[0], ticks[-1]

    def x(number: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * number / last

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    said = "; ".join(_in_words(line) for line in series)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escaped(f"{title}. {said}")}">']
    gap = ticks[1] - ticks[0]
    decimals = next((count for count in range(12) if math.isclose(round(gap, count), gap, rel_tol=1e-6)), 12)
    for tick in ticks:
        parts += [
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>',
            f'<text x="{_LEFT - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.{decimals}f}</text>',
        ]
    step = max(1, math.ceil(last / 8))
    for number in range(0, last + 1, step):
        parts.append(f'<text x="{x(number):.1f}" y="{_HEIGHT - 14}" text-anchor="middle">{number}</text>')
    for place, line in enumerate(series):
        points = [(x(n), y(v)) if _is_drawn(v) else None for n, v in zip(numbers, line.values, strict=True)]
        parts.append(f'<path class="line line{place}" d="{_path(points)}"/>')
        parts += [f'<circle class="dot{place}" cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="2.6"/>' for p in points if p]
    return "".join([*parts, "</svg>"])


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that reach from below the lowest to above the highest value, about `count` steps.

    Example:
        >>> nice_ticks(0.12, 0.48)
        [0.1, 0.2, 0.3, 0.4, 0.5]
    """
    span = max(high - low, 1e-3 * max(abs(low), abs(high)), 1e-6)
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * size for size in (1, 2, 2.5, 5, 10, 20) if power * size * count >= 0.999 * span)
    first, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(end, first + 1) + 1)]


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    before = [None, *points]
    return "".join(
        f"{'M' if previous is None else 'L'}{point[0]:.1f} {point[1]:.1f}"
        for previous, point in zip(before, points, strict=False)
        if point is not None
    )


def _is_drawn(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _in_words(line: Series) -> str:
    found = [value for value in line.values if _is_drawn(value)]
    if not found:
        return f"{line.name}: not measured"
    return f"{line.name}: from {found[0]:.3f} at first to {found[-1]:.3f} at last"
