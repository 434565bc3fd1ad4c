"""Checks that the searches' settings share."""

from __future__ import annotations

import operator
from collections.abc import Iterable


def integers(name: str, values: Iterable[int]) -> tuple[int, ...]:
    """The values as a tuple of Python integers, or a TypeError that names the argument."""
    try:
        return tuple(integer(name, value) for value in values)
    except TypeError:
        raise TypeError(f"{name} must be a sequence of integers, one a stage, got {values!r}") from None


def integer(name: str, value: int) -> int:
    """The value as a Python integer, or a TypeError that names the argument."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}") from None
