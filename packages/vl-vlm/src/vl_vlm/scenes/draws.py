"""Random choices as a pure function of whole numbers, the same on every platform and version of NumPy.

The words of NumPy's Philox and the hash of its SeedSequence never change, while the methods of its generators may; so
choices are made from the words here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")
_WORDS = 32


class Draws:
    """Stream of choices that belongs to whole numbers.

    Args:
        keys: At least 0 each, such as a seed and the number of an image.

    Example:
        >>> Draws(0, 7).uniform(0, 1) == Draws(0, 7).uniform(0, 1) != Draws(0, 8).uniform(0, 1)
        True
    """

    def __init__(self, *keys: int) -> None:
        self._source = np.random.Philox(np.random.SeedSequence(keys))
        self._words: list[int] = []

    def uniform(self, low: float, high: float) -> float:
        """Draw a number from the uniform distribution on ``[low, high)``."""
        if not self._words:
            self._words = self._source.random_raw(_WORDS).tolist()[::-1]
        return low + (high - low) * ((self._words.pop() >> 11) * 2.0**-53)

    def below(self, count: int) -> int:
        """Draw one of 0, 1, …, ``count - 1``."""
        return int(self.uniform(0, count))

    def choice(self, options: Sequence[_T]) -> _T:
        """Draw one of at least one option."""
        return options[self.below(len(options))]

    def shuffled(self, options: Sequence[_T]) -> list[_T]:
        """All options in random order."""
        rest, found = list(options), []
        while rest:
            found.append(rest.pop(self.below(len(rest))))
        return found
