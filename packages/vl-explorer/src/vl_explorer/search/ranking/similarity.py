"""Search by the cosine of embeddings, exactly and in blocks of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from vl_explorer.search.ranking.best import best

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Texts in, rows ``(n, d)`` of unit length out; a row of zeros for a text without meaning."""


class Similarity:
    """Texts by the likeness of their embeddings to that of a query; a blocked search serves below about 10^6 texts.

    Args:
        texts: By number; those whose embedding is zero are never found.
        embed: See `Embed`.
        block: Texts that are embedded at once.

    Raises:
        ValueError: If ``embed`` gives another shape or numbers that are not finite.
    """

    def __init__(self, texts: Sequence[str], embed: Embed, *, block: int = 1024) -> None:
        self._embed = embed
        self._rows = np.zeros((len(texts), 0), np.float32)
        for start in range(0, len(texts), block):
            part = self._embedded(texts[start : start + block])
            if not start:
                self._rows = np.zeros((len(texts), part.shape[1]), np.float32)
            if part.shape[1] != self._rows.shape[1]:
                raise ValueError(f"embed must always give {self._rows.shape[1]} columns, got {part.shape[1]}")
            self._rows[start : start + len(part)] = part
        self._known = np.flatnonzero(self._rows.any(axis=1))

    def __len__(self) -> int:
        """Number of texts."""
        return len(self._rows)

    def search(self, query: str, count: int) -> npt.NDArray[np.int64]:
        """Numbers of the ``count`` texts that are most like a query, best first, ties by number."""
        target = self._embedded([query])[0]
        if not len(self._known) or not target.any():
            return np.zeros(0, np.int64)
        return best((self._rows @ target)[self._known], self._known, count)

    def _embedded(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = np.asarray(self._embed(list(texts)), dtype=np.float32)
        if rows.ndim != 2 or len(rows) != len(texts) or not np.isfinite(rows).all():
            raise ValueError(
                f"embed must give finite numbers of shape ({len(texts)}, d) for {len(texts)} texts, got {rows.shape}"
            )
        return rows
