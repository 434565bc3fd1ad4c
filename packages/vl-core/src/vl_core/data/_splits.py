"""The names of the parts of a data set, and what is said when one is asked for that is not there."""

from __future__ import annotations

from collections.abc import Iterable

_SAME = {"validation": "val", "valid": "val", "dev": "val", "training": "train", "testing": "test"}
_ORDER = {"train": 0, "val": 1, "test": 2}


class UndividedError(ValueError):
    """A split was asked for of a data set that has none; without ``split`` all of it is read."""


def plain_split(name: str) -> str:
    """One name for each part: ``"validation"`` and ``"valid"`` are ``"val"``."""
    return _SAME.get(name.lower(), name.lower() if name.lower() in _ORDER else name)


def in_order(names: Iterable[str]) -> list[str]:
    """Without repeats: train, val, test, then any others by name."""
    return sorted(set(names), key=lambda name: (_ORDER.get(plain_split(name), len(_ORDER)), name))


def select_splits(split: str | None, available: Iterable[str], dataset: str) -> list[str]:
    """The parts to read: all in their order for None, else the one that ``split`` names.

    Args:
        split: What was asked for.
        available: What there is, in the data set's own spelling.
        dataset: Its name, for the error.

    Raises:
        UndividedError: If there are no parts.
        ValueError: If there is no such part.
    """
    there = in_order(available)
    if split is None:
        return there
    found = [name for name in there if plain_split(name) == plain_split(split)]
    if not found:
        if not there:
            raise UndividedError(f"split must be None for {dataset}, got {split!r}; it is not divided into splits")
        raise ValueError(f"split must be one of {', '.join(map(repr, there))} or None for {dataset}, got {split!r}")
    return found
