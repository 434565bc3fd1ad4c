"""The radial basis function kernel between concepts, computed block by block and never kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vl_explorer.models.model import Floats

Selection = NDArray[np.int64] | slice


class RadialBasisKernel:
    """Kernel k(x, y) = s² exp(−‖x − y‖² / 2 l²) of length scale l and signal variance s².

    The exponent is x·y/l² − ‖x‖²/2l² − ‖y‖²/2l² + log s²: a scalar product of x and y with two more entries each. So a
    block of the kernel is one matrix product and one exponential in place.

    Args:
        embeddings: ``(N, d)``; they stay as they are, and rows are converted when they are needed.
        length_scale: l, in the unit of the embeddings.
        signal_variance: s².
    """

    def __init__(self, embeddings: NDArray[Any], length_scale: float, signal_variance: float):
        self.embeddings = embeddings
        self.length_scale = length_scale
        self.signal_variance = signal_variance
        # Distances do not depend on the origin; far from it the scalar products would lose digits.
        self._origin = embeddings.mean(axis=0, dtype=np.float64)

    def left(self, which: Selection) -> Floats:
        """Left factors ``(n, d + 2)`` of the exponent for these concepts."""
        rows, half = self._rows(which)
        return np.column_stack([rows, math.log(self.signal_variance) - half, np.ones_like(half)])

    def right(self, which: Selection) -> Floats:
        """Right factors ``(m, d + 2)`` of the exponent for these concepts."""
        rows, half = self._rows(which)
        return np.column_stack([rows, np.ones_like(half), -half])

    def _rows(self, which: Selection) -> tuple[Floats, Floats]:
        rows: Floats = (self.embeddings[which].astype(np.float64) - self._origin) / self.length_scale
        return rows, 0.5 * np.einsum("ij,ij->i", rows, rows)


def kernel_block(left: Floats, right: Floats, out: Floats | None = None) -> Floats:
    """Kernel ``(n, m)`` between left factors ``(n, d + 2)`` and right factors ``(m, d + 2)``."""
    block = np.matmul(left, right.T, out=out)
    return np.exp(block, out=block)
