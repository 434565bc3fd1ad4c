"""Checks of what the functions of scenes have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
        TypeError: If it is no whole number.
        ValueError: If it is out of range.
    """
    check_number(seed, "seed", 0, MOST - 1)


def check_number(value: int, argument: str, least: int, most: int) -> None:
    """Check a whole number.

    Raises:
        TypeError: If it is none.
        ValueError: If it is out of range.
    """
    if not isinstance(value, int | np.integer):
        raise TypeError(f"{argument} must be a whole number, got {value!r:.40}")
    if not least <= value <= most:
        raise ValueError(f"{argument} must lie in {least}..{most}, got {value}")


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
