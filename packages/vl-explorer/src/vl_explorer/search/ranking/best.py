"""The best of many scores, ties by number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def best(scores: npt.NDArray[np.floating], numbers: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.int64]:
    """The ``count`` numbers with the highest scores, best first; of equal scores the lower number comes first.

    Args:
        scores: ``(n,)``.
        numbers: ``(n,)``, the number that each score belongs to.
        count: At most this many are returned.

    Example:
        >>> best(np.array([0.5, 2.0, 0.5]), np.array([7, 8, 3]), 2).tolist()
        [8, 3]
    """
    if count < len(scores):
        # All that are tied with the last one stay, so that their numbers decide.
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        kept = scores >= least
        scores, numbers = scores[kept], numbers[kept]
    order = np.lexsort((numbers, -scores))[:count]
    return numbers[order].astype(np.int64)
