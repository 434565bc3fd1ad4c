"""Checks of what the functions of scenes have in common."""

from __future__ import annotations

from collections.abc import Sequence

from vl_vlm.scenes.vocabulary import KINDS, SPLITS

MOST = 2**32
"""Seeds and numbers of scenes are below it."""


def check_split(split: str) -> None:
    """Check the name of a split.

    Raises:
        ValueError: If there is none of this name.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")


def check_seed(seed: int) -> None:
    """Check a seed.

    Raises:
        ValueError: If it is out of range.
    """
    if not 0 <= seed < MOST:
        raise ValueError(f"seed must lie in 0..{MOST - 1}, got {seed}")


def check_kinds(kinds: Sequence[str]) -> None:
    """Check kinds of scenes.

    Raises:
        TypeError: If they are one text.
        ValueError: If there is none, one is unknown, or one comes twice.
    """
    if isinstance(kinds, str):
        raise TypeError(f"kinds must be a list of kinds, got the text {kinds!r}; put it in a list")
    if not kinds or len(set(kinds)) < len(kinds) or not set(kinds) <= set(KINDS):
        raise ValueError(f"kinds must be some of {', '.join(KINDS)}, each once, got {list(kinds)}")
