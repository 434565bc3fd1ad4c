"""Tables that several commands print."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vl_core.tables import text_table

from vl_rl.common.statistics import Interval
from vl_rl.training.comparison import Curve, Summary, summarize


def curves_table(curves: Sequence[Curve]) -> str:
    """Last value of each method with its interval over seeds, and the mean height of its curve."""
    rows = [[one.label, str(one.runs), _final(one), number(one.area)] for one in summarize(curves)]
    return text_table(["method", "seeds", "last evaluation", "mean of the curve"], rows)


def _final(summary: Summary) -> str:
    return interval_text(summary.final, summary.runs)


def file_name(name: str) -> str:
    """Name of a method or environment as part of a file's name.

    Example:
        >>> file_name("A: sac, air")
        'A-sac-air'
    """
    return re.sub(r"[^\w.-]+", "-", name)


def interval_text(interval: Interval, runs: int) -> str:
    """An estimate, with the ends of its interval if it is over more than one run."""
    if runs == 1:
        return number(interval.estimate)
    return f"{number(interval.estimate)} ({number(interval.low)} to {number(interval.high)})"


def number(value: float) -> str:
    """A score with four significant digits, or more where it is large."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
