"""BM25 over an inverted index in NumPy: which texts hold the words of a query, the rare words counting more.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, equations 3.15 and 3.3 with the
weight of a word kept above zero: log(1 + (N - n + 0.5) / (n + 0.5)) for a word in n of N texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from vl_explorer.search.ranking.best import best
from vl_explorer.search.ranking.words import words

_BLOCK = 1 << 18


class BM25:
    """An index of texts by their words, built from a stream that is never held in memory.

    It takes 8 bytes for each different word of each text, beside the vocabulary.

    Args:
        texts: By number; texts without a word are never found.
        saturation: How much the repetition of a word counts, the paper's k1; 0 for not at all.
        length_share: How much long texts are discounted, the paper's b in 0..1.

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> index = BM25(["a red ball", "a blue ball", "two blue cats"])
        >>> index.search("blue cat", 3).tolist()
        [2, 1]
    """

    def __init__(self, texts: Iterable[str], *, saturation: float = 1.2, length_share: float = 0.75) -> None:
        if not 0 <= saturation < float("inf"):
            raise ValueError(f"saturation must be a finite number of at least 0, got {saturation!r}")
        if not 0 <= length_share <= 1:
            raise ValueError(f"length_share must lie in 0..1, got {length_share!r}")
        self._saturation = saturation
        self._vocabulary, rows = _count(texts)
        self._size = len(rows.lengths)
        order = np.argsort(rows.words, kind="stable")
        self._texts = rows.texts[order]
        self._starts = np.searchsorted(rows.words[order], np.arange(len(self._vocabulary) + 1))
        mean = float(rows.lengths.mean()) if rows.lengths.any() else 1.0
        shrink = (1 - length_share) + length_share * (rows.lengths / mean)
        counts = rows.counts[order].astype(np.float32)
        self._gains = counts * (saturation + 1) / (counts + saturation * shrink.astype(np.float32)[self._texts])

    def __len__(self) -> int:
        """Number of texts."""
        return self._size

    def search(self, query: str, count: int) -> npt.NDArray[np.int64]:
        """Numbers of the ``count`` texts that fit a query best, best first, ties by number.

        Only texts with a word of the query are found, so there may be fewer.
        """
        scores = np.zeros(self._size)
        touched = np.zeros(self._size, dtype=bool)
        # In the order of the query, so that sums are rounded alike each time.
        for word, repeats in Counter(words(query)).items():
            number = self._vocabulary.get(word)
            if number is None:
                continue
            part = slice(self._starts[number], self._starts[number + 1])
            found = self._texts[part]
            weight = np.log1p((self._size - len(found) + 0.5) / (len(found) + 0.5))
            scores[found] += repeats * weight * self._gains[part]
            touched[found] = True
        numbers = np.flatnonzero(touched)
        return best(scores[numbers], numbers, count)


class _Rows:
    """Words of texts as three columns: word, text, and how often it stands there."""

    def __init__(self) -> None:
        self._blocks: list[npt.NDArray[np.int32]] = []
        self._open: list[tuple[int, int, int]] = []
        self._lengths: list[int] = []

    def add(self, counted: Counter[int]) -> None:
        """Add a text by its words."""
        number = len(self._lengths)
        self._lengths.append(counted.total())
        self._open.extend((word, number, count) for word, count in counted.items())
        if len(self._open) >= _BLOCK:
            self._close_block()

    def finish(self) -> None:
        """Join what was added."""
        self._close_block()
        columns = np.concatenate(self._blocks) if self._blocks else np.zeros((0, 3), np.int32)
        self.words, self.texts, self.counts = columns.T
        self.lengths = np.array(self._lengths, dtype=np.float64)

    def _close_block(self) -> None:
        if self._open:
            self._blocks.append(np.array(self._open, dtype=np.int32))
            self._open = []


def _count(texts: Iterable[str]) -> tuple[dict[str, int], _Rows]:
    vocabulary: dict[str, int] = {}
    rows = _Rows()
    for text in texts:
        rows.add(Counter(vocabulary.setdefault(word, len(vocabulary)) for word in words(text)))
    rows.finish()
    return vocabulary, rows
