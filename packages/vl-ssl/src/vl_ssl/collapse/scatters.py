"""Forms in which a summary keeps the scatter of centered features: all of it, its triangular factor, or a sketch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vl_ssl.collapse.summary import Summary, without_rounding

_EPSILON = torch.finfo(torch.float64).eps
_SEED = 0  # of the test matrix, which must be the same wherever sketches are merged


class GramSummary(Summary):
    """The scatter matrix itself, d² numbers, of which those above the diagonal say nothing.

    Squaring loses singular values below about √(d · 2.2e-16) of the largest, 3e-7 for d = 512: they are set to zero.
    """

    kind = "scatter"

    def __init__(self, dimensions: int, device: torch.device):
        super().__init__(dimensions, device)
        self._scatter = torch.zeros(dimensions, dimensions, dtype=torch.float64, device=device)

    @property
    def core(self) -> Tensor:
        return self._scatter

    @core.setter
    def core(self, value: Tensor) -> None:
        self._scatter = value

    @property
    def matrix(self) -> Tensor:
        """The scatter ``(d, d)``, both triangles."""
        return self._scatter.tril() + self._scatter.tril(-1).T

    def fold(self, rows: Tensor) -> None:
        if rows.device.type != "cpu":
            self._scatter.addmm_(rows.T, rows)
            return
        # PyTorch has no product that computes one triangle, with half of the arithmetic; it is the lower one of the
        # transposed view, which is in the order of Fortran and so updated in place.
        from scipy.linalg.blas import dsyrk

        dsyrk(1.0, rows.numpy().T, beta=1.0, c=self._scatter.numpy().T, overwrite_c=1)

    def fold_core(self, core: Tensor) -> None:
        self._scatter += core

    def scale(self, factor: float) -> None:
        self._scatter *= factor

    def spectrum(self, *, centered: bool = True) -> Tensor:
        scatter = self._scatter
        if not centered:
            scatter = torch.addmm(scatter, self.mean_row().T, self.mean_row())
        # Reads the lower triangle alone.
        eigenvalues = torch.linalg.eigvalsh(scatter, UPLO="L").clamp_min_(0)
        floor = math.sqrt(self.dimensions * _EPSILON * float(eigenvalues[-1]))
        return without_rounding(eigenvalues.sqrt(), max(floor, self.rounding() * centered), self.dimensions)


class FactorSummary(Summary):
    """The triangular factor of a QR decomposition, d² numbers: TSQR (Demmel et al., 2012), without the factor Q.

    Nothing is squared, so singular values are right to about d · 2.2e-16 of the largest; each block costs a QR
    decomposition of d more rows than it has.
    """

    kind = "factor"
    linear = False

    def __init__(self, dimensions: int, device: torch.device):
        super().__init__(dimensions, device)
        self._factor = torch.zeros(0, dimensions, dtype=torch.float64, device=device)

    @property
    def core(self) -> Tensor:
        return self._factor

    @core.setter
    def core(self, value: Tensor) -> None:
        self._factor = value

    @property
    def block_rows(self) -> int:
        # The factor is decomposed again with every block.
        return max(super().block_rows, self.dimensions)

    def fold(self, rows: Tensor) -> None:
        self._factor = torch.linalg.qr(torch.cat([self._factor, rows]), mode="r").R

    def fold_core(self, core: Tensor) -> None:
        self.fold(core)

    def scale(self, factor: float) -> None:
        self._factor *= math.sqrt(factor)

    def spectrum(self, *, centered: bool = True) -> Tensor:
        factor = self._factor if centered else torch.cat([self._factor, self.mean_row()])
        values = torch.linalg.svdvals(factor)
        floor = self.dimensions * _EPSILON * float(values[0])
        return without_rounding(values, max(floor, self.rounding() * centered), self.dimensions)


class SketchSummary(Summary):
    """The product of the scatter with a random matrix Ω ``(d, rank)``, and its trace: a Nyström sketch.

    Tropp et al., *Fixed-Rank Approximation of a Positive-Semidefinite Matrix from Streaming Data*, 2017. The product is
    linear in the scatter, so that chunks, order and ranks do not matter here either. The spectrum is exact where
    it has at most `rank` values. Of a longer one the largest `rank` / 2 are kept, and a power law continues them so
    that the trace is exact, which makes the tail an estimate.
    """

    kind = "sketch"

    def __init__(self, dimensions: int, device: torch.device, *, rank: int):
        super().__init__(dimensions, device)
        generator = torch.Generator().manual_seed(_SEED)
        test = torch.randn(dimensions, rank, dtype=torch.float64, generator=generator)
        self._test = torch.linalg.qr(test).Q.to(device)
        # The last row is the trace, in its first place.
        self._sketch = torch.zeros(dimensions + 1, rank, dtype=torch.float64, device=device)

    @property
    def core(self) -> Tensor:
        return self._sketch

    @core.setter
    def core(self, value: Tensor) -> None:
        self._sketch = value

    def fold(self, rows: Tensor) -> None:
        self._sketch[:-1].addmm_(rows.T, rows @ self._test)
        self._sketch[-1, 0] += rows.square().sum()

    def fold_core(self, core: Tensor) -> None:
        self._sketch += core

    def scale(self, factor: float) -> None:
        self._sketch *= factor

    def spectrum(self, *, centered: bool = True) -> Tensor:
        sketch, trace = self._sketch[:-1], float(self._sketch[-1, 0])
        if not centered:
            row = self.mean_row()
            sketch, trace = torch.addmm(sketch, row.T, row @ self._test), trace + float(row.square().sum())
        if not trace > 0:
            return torch.zeros(self.dimensions, dtype=torch.float64)
        # The eigenvalues of Y (Ωᵀ Y)⁺ Yᵀ, with a shift that makes the inverse a stable one.
        shift = math.sqrt(self.dimensions) * _EPSILON * trace
        shifted = torch.add(sketch, self._test, alpha=shift)
        inner = self._test.T @ shifted
        eigenvalues, vectors = torch.linalg.eigh((inner + inner.T) / 2)
        vectors = vectors / eigenvalues.clamp_min(shift / 2).sqrt()
        found = torch.linalg.svdvals(shifted @ vectors).square().sub(shift).clamp_min(0)
        # The trace of a scatter is good to about as many digits as its eigenvalues are.
        floor = 100 * self.dimensions * _EPSILON * trace
        found = torch.where(found > floor, found, 0.0)
        if trace - float(found.sum()) > floor:
            rank = min(self.dimensions, self.count - int(centered))
            found = _extended(found[: max(1, len(found) // 2)], trace, rank)
        return without_rounding(found.sqrt(), self.rounding() * centered, self.dimensions)


def _extended(eigenvalues: Tensor, trace: float, rank: int) -> Tensor:
    """Largest eigenvalues, continued up to `rank` by the power law from the last of them that has the trace."""
    k = len(eigenvalues)
    if rank <= k:
        return eigenvalues
    left = trace - float(eigenvalues.sum())
    index = (torch.arange(k + 1, rank + 1, dtype=torch.float64, device=eigenvalues.device) / k).log()
    low, high = 0.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        # A steeper law has less energy.
        if float(eigenvalues[-1]) * float(torch.exp(-middle * index).sum()) > left:
            low = middle
        else:
            high = middle
    tail = torch.exp(-low * index)
    return torch.cat([eigenvalues, tail * (left / float(tail.sum()))])
