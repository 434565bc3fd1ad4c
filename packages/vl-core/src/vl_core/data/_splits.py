"""Names of splits, and errors for splits that do not exist."""

from __future__ import annotations

from collections.abc import Iterable

_SAME = {"validation": "val", "valid": "val", "dev": "val", "training": "train", "testing": "test"}
_ORDER = {"train": 0, "val": 1, "test": 2}


class UndividedError(ValueError):
    """Raised when a split is requested from a data set without splits; leave ``split`` out to read all of it."""


def plain_split(name: str) -> str:
    """Canonical name of a split: ``"validation"`` and ``"valid"`` become ``"val"``."""
    return _SAME.get(name.lower(), name.lower() if name.lower() in _ORDER else name)


def in_order(names: Iterable[str]) -> list[str]:
    """Unique names in order: train, val, test, then the others by name."""
    return sorted(set(names), key=lambda name: (_ORDER.get(plain_split(name), len(_ORDER)), name))


def select_splits(split: str | None, available: Iterable[str], dataset: str, why_none: str = "") -> list[str]:
    """Splits to read: all of them in order for None, else the one that ``split`` names.

    Args:
        split: The requested split.
        available: The existing splits, in the data set's own spelling.
        dataset: Its name, for the error.
        why_none: Why it has no splits, for the error.

    Raises:
        UndividedError: If the data set has no splits.
        ValueError: If there is no such split.
    """
    there = in_order(available)
    if split is None:
        return there
    found = [name for name in there if plain_split(name) == plain_split(split)]
    if not found:
        if not there:
            reason = f" ({why_none})" if why_none else ""
            raise UndividedError(
                f"split must be left out for {dataset}, which is not divided into splits{reason}, got {split!r}"
            )
        known = ", ".join(map(repr, there))
        raise ValueError(f"split must be one of {known} for {dataset}, or be left out, got {split!r}")
    return found
