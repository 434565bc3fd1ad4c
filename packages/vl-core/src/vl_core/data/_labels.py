"""Convert a column of labels, integers or names, to class indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_CLASSES = 1_000_000
"""Largest number of classes without names; a damaged label would otherwise cost a name for each number below it."""


def number_labels(
    values: Sequence[Any], classes: Sequence[str] | None, what: str
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Class indices and class names of a column.

    Args:
        values: Integers (-1 or None for no label), or names (None for no label).
        classes: The names in their order. Without them, names are sorted, and numbers are their own names.
        what: The column, for errors.

    Returns:
        ``(n,)`` int64, and the names.

    Raises:
        ValueError: If a value is neither an integer nor a name, or has no class.
    """
    known = [value for value in values if value is not None]
    if all(isinstance(value, str) for value in known):
        names = tuple(sorted(set(known))) if classes is None else tuple(classes)
        number = {name: index for index, name in enumerate(names)}
        strangers = sorted(set(known) - set(names))
        if strangers:
            raise ValueError(f"{what} holds {strangers[0]!r}, which is not among the {len(names)} classes")
        return np.array([-1 if value is None else number[value] for value in values], np.int64), names
    for value in known:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{what} must hold integers or names, got {value!r} of type {type(value).__name__}")
    numbers = [-1 if value is None else int(value) for value in values]
    low, high = min(numbers, default=-1), max(numbers, default=-1)
    if classes is None and high >= MAX_CLASSES:
        raise ValueError(f"{what} must lie below {MAX_CLASSES:,} where no class names are given, got {high}")
    names = tuple(str(index) for index in range(high + 1)) if classes is None else tuple(classes)
    if low < -1 or high >= len(names):
        raise ValueError(
            f"{what} must lie in -1..{len(names) - 1} (-1 for none, {len(names)} classes), got {low}..{high}"
        )
    return np.array(numbers, np.int64), names
