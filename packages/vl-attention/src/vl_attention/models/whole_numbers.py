"""Whole numbers of Python, NumPy and torch, told apart without importing the last two."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def whole_number(value: Any) -> int | None:
    """The value as an ``int`` if it is a whole number; None for anything else, and for booleans.

    Args:
        value: A number of Python or NumPy, or an array or tensor without dimensions.

    Example:
        >>> whole_number(3), whole_number(3.0), whole_number(True)
        (3, None, None)
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Integral):
        return None
    return int(value)
