"""The greedy baseline: concepts most like the target's name, with nothing learned from rewards."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vl_explorer.models.model import Floats
from vl_explorer.models.observations import ObservingModel


class NearestModel(ObservingModel):
    """Cosine similarity to the nearest of the target's names; a `ConceptModel` that ignores rewards.

    Args:
        embeddings: Of the concepts, ``(N, d)``, any floating dtype.
        target: Embedding of the target's name, ``(d,)``, or of several such as its classes, ``(m, d)``.

    Raises:
        TypeError: If the embeddings are not floating-point numbers.
        ValueError: If shapes are others, numbers are not finite, or a name has an embedding of zeros.

    Example:
        >>> model = NearestModel(np.eye(3), np.array([0.0, 0.6, 0.8]))
        >>> mean, std = model.predict()
        >>> mean.tolist(), std.tolist()
        ([0.0, 0.6, 0.8], [0.0, 0.0, 0.0])
    """

    def __init__(self, embeddings: ArrayLike, target: ArrayLike):
        super().__init__(embeddings, normalize=False)
        names = np.atleast_2d(np.asarray(target, np.float64))
        if names.ndim != 2 or names.shape[1] != self._embeddings.shape[1] or not len(names):
            raise ValueError(
                f"target must have shape (d,) or (m, d) with d = {self._embeddings.shape[1]} like embeddings, "
                f"got {np.shape(target)}; embed the names as the concepts were"
            )
        lengths = np.linalg.norm(names, axis=1, keepdims=True)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise ValueError("target must be finite and not zero; a name without a known word needs another name")
        own = np.linalg.norm(self._embeddings, axis=1).astype(np.float64)
        similarities = (self._embeddings @ (names / lengths).T) / np.where(own > 0, own, 1)[:, None]
        self._similarity: Floats = similarities.max(axis=1)

    def predict(self) -> tuple[Floats, Floats]:
        """Similarity of every concept, and zeros, both ``(N,)``."""
        return self._similarity.copy(), np.zeros_like(self._similarity)

    def sample(self, generator: np.random.Generator) -> Floats:
        """The similarities, since nothing is uncertain."""
        return self._similarity.copy()
