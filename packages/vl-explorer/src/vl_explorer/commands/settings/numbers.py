"""Numbers on the command line."""

from __future__ import annotations

from dataclasses import dataclass

from vl_core.cli import Range


@dataclass(frozen=True)
class FiniteRange(Range):
    """A range with one bound, whose message says that infinity is not in it.

    Example:
        >>> FiniteRange(above=0)("--quota", float("inf"))
        Traceback (most recent call last):
        ValueError: --quota must be finite and above 0, got inf
    """

    def __str__(self) -> str:
        return f"finite and {super().__str__()}"
