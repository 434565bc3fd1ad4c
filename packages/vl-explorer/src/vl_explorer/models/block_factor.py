"""A Cholesky factor that grows by rows and is never copied.

Row blocks of the lower triangle are as wide as the triangle is there, and lie in slabs that are allocated one after
another. The upper half takes no memory: n = 12,800 needs 0.66 GB in place of 1.3 GB, twice that while a square matrix
would be copied. Slabs are large enough to come from the system rather than from the heap, where row blocks among
passing matrices, each a little larger than the last, would leave gaps that nothing fills.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from vl_explorer.models.model import Floats

_SLAB = 2**23  # numbers, 64 MiB; the system gives the memory when it is written


class BlockFactor:
    """Lower triangular L ``(n, n)`` with L Lᵀ = K.

    Args:
        block: Rows that are stored together.
    """

    def __init__(self, block: int = 256):
        self.block = block
        self.size = 0
        self._blocks: list[Floats] = []
        self._slab = np.empty(0)

    def append(self, left: Floats, corner: Floats) -> None:
        """Add rows to the factor.

        Args:
            left: Their entries ``(m, n)`` below what there is: (L⁻¹ K_old,new)ᵀ.
            corner: Their own lower triangle ``(m, m)``: the factor of K_new,new − left leftᵀ.
        """
        done = 0
        while done < len(corner):
            start = self.size // self.block * self.block
            if start == self.size:
                self._blocks.append(self._allocate(start + self.block))
            rows = min(len(corner) - done, start + self.block - self.size)
            first = self.size - start
            target = self._blocks[-1][first : first + rows]
            known = left.shape[1]
            target[:, :known] = left[done : done + rows]
            target[:, known : known + done + rows] = np.tril(corner[done : done + rows, : done + rows], k=done)
            self.size += rows
            done += rows

    def truncate(self, size: int) -> None:
        """Forget all rows from the given one on."""
        self.size = min(self.size, size)
        del self._blocks[-(-self.size // self.block) :]

    def solve_lower(self, right: Floats) -> Floats:
        """L⁻¹ B of a matrix ``(n, m)`` or vector ``(n,)``."""
        solution = np.array(right)
        for start, end, rows in self._rows():
            solution[start:end] -= rows[:, :start] @ solution[:start]
            solution[start:end] = _triangular(rows[:, start:], solution[start:end])
        return solution

    def solve_upper(self, right: Floats) -> Floats:
        """L⁻ᵀ B of a matrix ``(n, m)`` or vector ``(n,)``."""
        solution = np.array(right)
        for start, end, rows in reversed(self._rows()):
            solution[start:end] = _triangular(rows[:, start:], solution[start:end], transposed=True)
            solution[:start] -= rows[:, :start].T @ solution[start:end]
        return solution

    def solve(self, right: Floats) -> Floats:
        """K⁻¹ B of a matrix ``(n, m)`` or vector ``(n,)``."""
        return self.solve_upper(self.solve_lower(right))

    def _allocate(self, width: int) -> Floats:
        """Memory of a row block ``(block, width)``; what is above the diagonal is never read."""
        needed = self.block * width
        if len(self._slab) < needed:
            self._slab = np.empty(max(_SLAB, needed))
        block, self._slab = self._slab[:needed], self._slab[needed:]
        return block.reshape(self.block, width)

    def _rows(self) -> list[tuple[int, int, Floats]]:
        """First row, end and rows ``(end − first, end)`` of each block."""
        bounds = [(start, min(start + self.block, self.size)) for start in range(0, self.size, self.block)]
        return [
            (start, end, rows[: end - start, :end]) for (start, end), rows in zip(bounds, self._blocks, strict=True)
        ]


def _triangular(lower: Floats, right: Floats, *, transposed: bool = False) -> Floats:
    solution: Floats = solve_triangular(lower, right, lower=True, trans=int(transposed), check_finite=False)
    return solution
