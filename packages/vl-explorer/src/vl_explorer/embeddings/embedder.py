"""The signature that all text embedders share, and the check of what they return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class TextEmbedder(Protocol):
    """Embeds texts as vectors of unit length; a text of which nothing is known may be zeros."""

    @property
    def name(self) -> str:
        """Name for records; embeddings under different names are not compared."""

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings ``(N, d)`` of N texts, each of unit length or zeros, whatever the other texts are."""


def checked_texts(texts: Sequence[str]) -> list[str]:
    """Texts as a list.

    Raises:
        TypeError: If they are one text, or not all are texts.
    """
    if isinstance(texts, str):
        raise TypeError(f"texts must be a sequence of texts, got one text {texts[:40]!r}; put it into a list")
    found = list(texts)
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(f"texts must be of type str, got {type(text).__name__} at {place}")
    return found


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows ``(N, d)`` of unit length in float32; zeros stay.

    Raises:
        ValueError: If they have another shape or are not finite.
    """
    if rows.ndim != 2:
        raise ValueError(f"rows must have shape (N, d), got {rows.shape}")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ValueError(f"rows must be finite, got others in {int((~np.isfinite(lengths)).sum())} rows")
    scaled: NDArray[np.float32] = (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled
