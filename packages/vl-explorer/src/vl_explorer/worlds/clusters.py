"""A simulated world: concepts in hidden clusters, a few of which are relevant; rewards without images.

Lemma 2.1 of Internet Explorer (Li, Brown, Efros and Pathak, 2023) counts queries there. Of n concepts, c clusters of s
concepts each are relevant. Drawn uniformly with replacement, the c s relevant concepts are all found after n H_cs draws
in expectation, a coupon collector's; where the first concept of a cluster gives the others away, n H_c / s draws are
enough. H is the harmonic number. Nothing need be drawn twice, and without replacement both are fewer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vl_explorer.models.model import Floats, checked_indices


class ClusterWorld:
    """Concepts around hidden centers on a sphere; the reward of a concept is 1 in relevant clusters, and noise.

    Args:
        concepts: Number n of concepts, a multiple of `clusters`.
        clusters: Number of clusters, all of the same size s.
        relevant: Number c of relevant clusters.
        dimensions: Of the embeddings.
        spread: Length of a concept's offset from its center before it is put back on the sphere; the squared distance
            of two concepts of a cluster is about 2 spread² / (1 + spread²), that of two of different clusters 2.
        noise: Standard deviation of the noise of a reward; a concept has the same each time.
        seed: Of all that is drawn.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> world = ClusterWorld(concepts=1000, clusters=100, relevant=2, noise=0.0)
        >>> world.size, int(world.rewards(range(1000)).sum())
        (10, 20)
    """

    def __init__(
        self,
        concepts: int = 100_000,
        clusters: int = 1000,
        relevant: int = 5,
        *,
        dimensions: int = 50,
        spread: float = 0.35,
        noise: float = 0.1,
        seed: int = 0,
    ) -> None:
        if clusters < 1 or concepts < clusters or concepts % clusters:
            raise ValueError(f"concepts must be a multiple of clusters, {clusters}, got {concepts}")
        if not 1 <= relevant <= clusters:
            raise ValueError(f"relevant must be in 1..{clusters}, one of the clusters or more, got {relevant}")
        if dimensions < 2:
            raise ValueError(f"dimensions must be at least 2, got {dimensions}")
        for name, value in (("spread", spread), ("noise", noise)):
            if not 0 <= value < np.inf:
                raise ValueError(f"{name} must be a number of at least 0, got {value}")
        generator = np.random.default_rng(seed)
        self.size = concepts // clusters
        """Concepts of a cluster, s."""
        self.cluster_of: NDArray[np.int64] = generator.permutation(np.repeat(np.arange(clusters), self.size))
        """Cluster of each concept, ``(n,)``; hidden from what searches."""
        self.relevant: NDArray[np.int64] = np.sort(generator.choice(clusters, relevant, replace=False))
        """Relevant clusters, ``(c,)``."""
        centers = _on_sphere(generator.standard_normal((clusters, dimensions)))
        offsets = generator.standard_normal((concepts, dimensions)) * (spread / math.sqrt(dimensions))
        self.embeddings: NDArray[np.float32] = _on_sphere(centers[self.cluster_of] + offsets).astype(np.float32)
        """Embeddings of the concepts, of unit length, ``(n, d)``."""
        self._rewards: Floats = np.isin(self.cluster_of, self.relevant) + noise * generator.standard_normal(concepts)

    def __len__(self) -> int:
        """Number of concepts."""
        return len(self.cluster_of)

    def rewards(self, indices: ArrayLike) -> Floats:
        """Rewards ``(b,)`` of concepts ``(b,)``.

        Raises:
            TypeError: If the indices are not whole numbers.
            ValueError: If one is out of range.
        """
        return self._rewards[checked_indices(indices, len(self))]

    def found(self, order: ArrayLike) -> tuple[int, int]:
        """Queries until every relevant cluster was found, by its first concept and by its last.

        Args:
            order: Concepts in the order in which they were searched for; a repetition is a query too.

        Returns:
            Queries until each relevant cluster had one of its concepts searched for, and until each had all; -1 where
            that did not happen.
        """
        places = checked_indices(order, len(self))
        concepts, first = np.unique(places, return_index=True)
        clusters = self.cluster_of[concepts]
        touched, complete = 0, 0
        for cluster in self.relevant:
            steps = first[clusters == cluster]
            touched = -1 if touched < 0 or not len(steps) else max(touched, int(steps.min()) + 1)
            complete = -1 if complete < 0 or len(steps) < self.size else max(complete, int(steps.max()) + 1)
        return touched, complete

    def expected_uniform(self, *, replacement: bool = False) -> tuple[float, float]:
        """Expectation of `found` under uniform draws.

        Args:
            replacement: Draw with replacement, as the paper's lemma does: n H_c / s and n H_cs.

        Example:
            >>> touched, complete = ClusterWorld(1000, 100, 1).expected_uniform(replacement=True)
            >>> touched, round(complete, 1)
            (100.0, 2929.0)
        """
        n, c, s = len(self), len(self.relevant), self.size
        if replacement:
            return n * harmonic(c) / s, n * harmonic(c * s)
        # The last of c first hits, by inclusion and exclusion over the first hit of any k clusters.
        touched = sum((-1) ** (k + 1) * math.comb(c, k) * (n + 1) / (k * s + 1) for k in range(1, c + 1))
        return touched, c * s * (n + 1) / (c * s + 1)


def harmonic(count: int) -> float:
    """The harmonic number H, the sum of 1 / k for k up to `count`."""
    return float((1 / np.arange(1, count + 1)).sum())


def _on_sphere(rows: NDArray[Any]) -> NDArray[Any]:
    scaled: NDArray[Any] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled
