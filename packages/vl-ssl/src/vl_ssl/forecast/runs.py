"""Rows of finished runs: reading, columns as numbers, and groups of runs that differ in their seed alone.

Nothing here imports torch or scipy, so commands can check their input with it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vl_core.results import read_rows

BUILT_IN = Path(__file__).parent / "runs.csv"
"""Runs that ship with the package; `docs/forecast.md` says how they were made."""

SETTINGS = (
    *("method", "ablation", "base_learning_rate", "width", "schedule", "share", "batch_size", "updates"),
    *("images", "limit", "image_size"),
)
"""Columns of a run of `vl-ssl sweep` that make its configuration; ``seed`` is one more."""


def read_runs(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Rows of a CSV file of runs, or of the ``runs.csv`` of a folder; values as text.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is no CSV file, or has no row.
    """
    given = Path(path).expanduser()
    file = given / "runs.csv" if given.is_dir() else given
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist; pass a CSV file of runs or a folder of vl-ssl sweep")
    rows = read_rows(file)
    if not rows:
        raise ValueError(f"{file} must hold at least one run, got none")
    return rows


def column(runs: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """A column of runs as numbers ``(n,)``.

    Raises:
        ValueError: If a run lacks it, or it is no finite number; the message names the run, counted from 1.
    """
    found = np.empty(len(runs))
    for number, run in enumerate(runs, 1):
        if name not in run:
            known = ", ".join(str(key) for key in list(run)[:30])
            raise ValueError(f"run {number} must have a column {name!r}, got {known}; choose among these")
        value = as_number(run[name])
        if value is None:
            raise ValueError(f"{name} of run {number} must be a number, got {run[name]!r}; leave the run out")
        if not math.isfinite(value):
            raise ValueError(f"{name} of run {number} must be finite, got {value}; leave the run or the metric out")
        found[number - 1] = value
    return found


def as_number(value: Any) -> float | None:
    """A value of a cell as a number, NaN and infinity too; None where it is none, as of an empty cell."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def configurations(runs: Sequence[Mapping[str, Any]], settings: Sequence[str] = SETTINGS) -> list[tuple[str, ...]]:
    """Settings of each run as text, without its seed: equal for runs that differ in their seed alone.

    Args:
        runs: Values by column.
        settings: Columns that make a configuration; those that no run has are left out.

    Raises:
        ValueError: If no run has any of them.

    Example:
        >>> configurations([{"width": 8, "seed": 0}, {"width": 8, "seed": 1}, {"width": 16, "seed": 0}])
        [('8',), ('8',), ('16',)]
    """
    names = [name for name in settings if any(name in run for run in runs)]
    if not names:
        raise ValueError(f"runs must have columns of their settings, such as {', '.join(settings[:4])}; got none")
    return [tuple(str(run.get(name, "")) for name in names) for run in runs]
