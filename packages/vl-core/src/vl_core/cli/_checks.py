"""Checks of numeric options, which name the option."""

from __future__ import annotations

import math

__all__ = ["check_above", "check_at_least"]


def check_at_least(option: str, value: float | None, least: float) -> None:
    """Check that a number is finite and at least ``least``; None passes.

    Raises:
        ValueError: If it is not.
    """
    if value is not None and not least <= value < math.inf:
        raise ValueError(f"{option} must be at least {least}, got {value}")


def check_above(option: str, value: float | None, bound: float) -> None:
    """Check that a number is finite and above ``bound``; None passes.

    Raises:
        ValueError: If it is not.
    """
    if value is not None and not bound < value < math.inf:
        raise ValueError(f"{option} must be above {bound}, got {value}")
