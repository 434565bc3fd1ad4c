"""The factor of the kernel of what was observed, which grows by concepts and follows their noise.

Noise of a concept falls when it is observed again. Then its diagonal entry changes inside the matrix, and the rows of
the factor from there on are computed again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from vl_explorer.models.block_factor import BlockFactor
from vl_explorer.models.kernel import RadialBasisKernel, kernel_block
from vl_explorer.models.model import Floats, cholesky


class ObservedFactor:
    """Cholesky factor of the kernel between observed concepts, with noise / count on the diagonal.

    Args:
        kernel: Between all concepts.
        noise: Variance of the noise of one observation.
    """

    def __init__(self, kernel: RadialBasisKernel, noise: float):
        self.kernel = kernel
        self.noise = noise
        self.order = np.empty(0, np.int64)
        """Observed concepts in the order of the rows, ``(n,)``."""
        self.counts = np.empty(0, np.int64)
        """Number of observations of each, ``(n,)``."""
        self.left = kernel.left(self.order)
        """Left factors of the kernel for each, ``(n, d + 2)``."""
        self._factor = BlockFactor()

    def __len__(self) -> int:
        return len(self.order)

    def solve(self, right: Floats) -> Floats:
        """K⁻¹ B of a vector ``(n,)`` or matrix ``(n, m)``."""
        return self._factor.solve(right)

    def add(self, indices: NDArray[np.int64]) -> Floats:
        """Grow by observations of these concepts, ``(b,)``; the same may come several times.

        Let C be the covariance, given what was known, between the m distinct ones of them and all N concepts, and S
        their own with noise, of factor G. Variances fall by the squared columns of G⁻¹ C, which is the returned matrix
        times the kernel. For concepts that are new, it is the new rows of L⁻¹.

        Returns:
            Rows ``(m, n)`` of G⁻¹ C in terms of the kernel ``(n, N)`` between the now observed and all concepts.
        """
        distinct, first, counts = np.unique(indices, return_index=True, return_counts=True)
        position = {int(concept): place for place, concept in enumerate(self.order)}
        # New concepts first, in the order in which they came, since their rows are those of the factor.
        come = sorted(range(len(first)), key=lambda i: (int(distinct[i]) in position, first[i]))
        concepts, counts = distinct[come], counts[come]
        known = len(self)
        new = sum(int(concept) not in position for concept in concepts)
        places = [position.get(int(concept), known + place) for place, concept in enumerate(concepts)]
        left, right = self.kernel.left(concepts), self.kernel.right(concepts)
        half = self._factor.solve_lower(kernel_block(self.left, right))
        corner = _corner(kernel_block(left, right), half, self.noise / counts)
        rows = np.zeros((len(concepts), known + new))
        rows[:, :known] = -self._factor.solve_upper(half).T
        rows[np.arange(len(concepts)), places] += 1
        whitened: Floats = solve_triangular(corner, rows, lower=True, check_finite=False)
        self._factor.append(half[:, :new].T, corner[:new, :new])
        self.order = np.concatenate([self.order, concepts[:new]])
        self.left = np.concatenate([self.left, left[:new]])
        self.counts = np.concatenate([self.counts, np.zeros(new, np.int64)])
        self.counts[places] += counts
        if new < len(concepts):
            self._compute_again(min(places[new:]))
        return whitened

    def _compute_again(self, start: int) -> None:
        """Compute the rows from the given one on with the noise of now."""
        self._factor.truncate(start)
        while start < len(self):
            end = min(len(self), start + self._factor.block)
            right = self.kernel.right(self.order[start:end])
            half = self._factor.solve_lower(kernel_block(self.left[:start], right))
            inner = kernel_block(self.left[start:end], right)
            self._factor.append(half.T, _corner(inner, half, self.noise / self.counts[start:end]))
            start = end


def _corner(inner: Floats, half: Floats, noise: Floats) -> Floats:
    """Factor of the kernel ``(m, m)`` less what is known, half ``(n, m)``, with noise ``(m,)``."""
    inner -= half.T @ half
    inner[np.diag_indices_from(inner)] += noise
    return cholesky(inner)
