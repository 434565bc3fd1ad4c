"""Bayesian linear regression of rewards on embeddings: the plain bandit beside the Gaussian process."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, solve_triangular

from vl_explorer.models.model import Floats, check_positive, cholesky
from vl_explorer.models.observations import ObservingModel

_ROWS = 2**14  # concepts whose embeddings are in float64 at once


class LinearModel(ObservingModel):
    """Bayesian linear regression; a `ConceptModel`.

    The normalized reward of a concept is w·e plus noise, with independent normal weights w before anything is observed.
    Costs d³ + N d² a prediction, whatever the number of observations.

    Args:
        embeddings: Of the concepts, ``(N, d)``, any floating dtype.
        weight_variance: Variance of each weight; with embeddings of unit length also that of the function.
        noise: Variance of the noise of one observation, in squared normalized rewards.
        normalize: As for `GaussianProcess`.

    Raises:
        TypeError: If the embeddings are not floating-point numbers.
        ValueError: If they have another shape or are not finite, or a number is not above 0.

    Example:
        >>> model = LinearModel(np.eye(3))
        >>> model.observe([0, 1], [1.0, 0.0])
        >>> model.predict()[0].argsort().tolist()
        [1, 2, 0]
    """

    def __init__(
        self, embeddings: ArrayLike, *, weight_variance: float = 1.0, noise: float = 0.5, normalize: bool = True
    ):
        check_positive(weight_variance=weight_variance, noise=noise)
        super().__init__(embeddings, normalize=normalize)
        self.weight_variance = weight_variance
        self.noise = noise

    def predict(self) -> tuple[Floats, Floats]:
        """Expected reward of every concept and its standard deviation without noise, both ``(N,)``."""
        factor, weights = self._posterior()
        center, scale = self._observations.scale()
        mean, std = np.empty((2, len(self._embeddings)))
        for start in range(0, len(mean), _ROWS):
            block = slice(start, start + _ROWS)
            rows = self._embeddings[block].astype(np.float64)
            mean[block] = rows @ weights
            whitened = solve_triangular(factor, rows.T, lower=True, check_finite=False)
            std[block] = np.sqrt(np.einsum("ij,ij->j", whitened, whitened))
        return center + scale * mean, scale * std

    def sample(self, generator: np.random.Generator) -> Floats:
        """One draw ``(N,)`` of the function, of all concepts together."""
        factor, weights = self._posterior()
        noise = generator.standard_normal(len(weights))
        weights = weights + solve_triangular(factor, noise, lower=True, trans=1, check_finite=False)
        center, scale = self._observations.scale()
        draw: Floats = center + scale * (self._embeddings @ weights)
        return draw

    def _posterior(self) -> tuple[Floats, Floats]:
        """Lower factor ``(d, d)`` of the precision of the weights, and their mean ``(d,)``."""
        concepts, counts = np.unique(self._observations.indices, return_counts=True)
        rows = self._embeddings[concepts].astype(np.float64)
        weighted = rows * (counts / self.noise)[:, None]
        precision = rows.T @ weighted
        precision[np.diag_indices_from(precision)] += 1 / self.weight_variance
        factor = cholesky(precision)
        values = self._observations.merged(concepts)
        return factor, cho_solve((factor, True), weighted.T @ values, check_finite=False)
