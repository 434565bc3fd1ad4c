"""Two models that see no image: what a task gives away by its texts, and what it gives to anybody.

A benchmark whose wrong captions are odd English is solved by a language model alone; the blind row shows by how much.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from vl_vlm.evaluation.scorers.scorer import Scores

_WORD = re.compile(r"\w+|[^\w\s]")


class ConstantBaseline:
    """The model that knows nothing: every image fits every text equally well."""

    def score(self, images: Sequence[Any], texts: Sequence[str]) -> Scores:
        """Zeros ``(len(images), len(texts))``."""
        return np.zeros((len(images), len(texts)), np.float32)


class UnigramBaseline:
    """Log-probability of a text's words, whatever the image.

    Words and punctuation marks are drawn independently, with frequencies counted in ``captions`` and one added to
    each, an unknown word included. Texts of the same words have exactly the same score, in whatever order they stand.
    No label is used: right and wrong captions are counted alike.

    Args:
        captions: Texts to count words in; without any, all texts are equally probable.

    Example:
        >>> scores = UnigramBaseline(["a cat", "a dog"]).score([None], ["a cat", "cat a", "an ibex"])
        >>> bool(scores[0, 0] == scores[0, 1] > scores[0, 2])
        True
    """

    def __init__(self, captions: Sequence[str] = ()) -> None:
        counts = Counter(word for caption in captions for word in _words(caption))
        total = sum(counts.values()) + len(counts) + 1
        self._log_probs = {word: math.log((count + 1) / total) for word, count in counts.items()}
        self._unknown = math.log(1 / total)
        self._known: dict[str, float] = {}

    def log_prob(self, text: str) -> float:
        """Log-probability of a text in nats; 0 for every text if no captions were counted."""
        if not self._log_probs:
            return 0.0
        if text not in self._known:
            # The exact sum does not depend on the order of the words, so anagrams tie.
            self._known[text] = math.fsum(self._log_probs.get(word, self._unknown) for word in _words(text))
        return self._known[text]

    def score(self, images: Sequence[Any], texts: Sequence[str]) -> Scores:
        """Log-probabilities ``(len(images), len(texts))`` in nats, the same in each row."""
        row = np.array([self.log_prob(text) for text in texts])
        return np.tile(row, (len(images), 1))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
