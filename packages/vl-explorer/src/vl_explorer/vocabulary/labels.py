"""Exploration guided by a label set: concepts near the names of the classes.

Internet Explorer (Li, Brown, Efros and Pathak, 2023, section 2.6): the tenth of the concepts whose mean similarity to
the k nearest class names is highest, with k a third of the classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS = 2**13


def nearest_to_labels(
    embeddings: NDArray[Any], labels: NDArray[Any], *, share: float = 0.1, neighbors: int | None = None
) -> NDArray[np.int64]:
    """Indices of the concepts nearest to a label set, in ascending order.

    Args:
        embeddings: Of the concepts, ``(N, d)``; those of zeros are never near.
        labels: Of the class names, ``(m, d)``.
        share: Share of the concepts that is kept, at least one of them.
        neighbors: Number of nearest labels whose cosine similarities are averaged, by default a third of them and at
            least 1.

    Returns:
        ``(round(share · N),)``; of equally near concepts the first are kept.

    Raises:
        ValueError: If shapes do not fit, or an option is out of range.

    Example:
        >>> nearest_to_labels(np.eye(4), np.array([[0.0, 0.6, 0.8, 0.0]]), share=0.5).tolist()
        [1, 2]
    """
    if embeddings.ndim != 2 or labels.ndim != 2 or embeddings.shape[1] != labels.shape[1] or not labels.size:
        raise ValueError(
            f"labels must have shape (m, d) with the d of embeddings, got {labels.shape} and {embeddings.shape}; "
            "embed both in the same way"
        )
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    count = max(1, len(labels) // 3) if neighbors is None else neighbors
    if not 1 <= count <= len(labels):
        raise ValueError(f"neighbors must be in 1..{len(labels)}, the number of labels, got {neighbors}")
    names = _units(labels)
    nearness = np.empty(len(embeddings))
    for start in range(0, len(embeddings), _ROWS):
        block = slice(start, start + _ROWS)
        rows = _units(embeddings[block])
        similarities = np.partition(rows @ names.T, len(names) - count, axis=1)[:, -count:]
        nearness[block] = np.where(rows.any(axis=1), similarities.mean(axis=1), -np.inf)
    kept = np.argsort(-nearness, kind="stable")[: max(1, round(share * len(embeddings)))]
    return np.sort(kept)


def _units(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Rows of unit length, in float64; zeros stay."""
    values = rows.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    scaled: NDArray[np.float64] = values / np.where(lengths > 0, lengths, 1)
    return scaled
