"""Forms in which a summary keeps the whole scatter of centered features: as it is, or as its triangular factor."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vl_ssl.collapse.summary import Summary, without_rounding

_EPSILON = torch.finfo(torch.float64).eps


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
        added = None if centered else self.mean_row()
        eigenvalues = _eigenvalues(self._scatter, added).clamp_min_(0)
        floor = math.sqrt(self.dimensions * _EPSILON * float(eigenvalues[-1]))
        return without_rounding(eigenvalues.sqrt(), max(floor, self.rounding() * centered), self.dimensions)


def _eigenvalues(scatter: Tensor, row: Tensor | None) -> Tensor:
    """Eigenvalues, ascending, of a lower triangle, or of its sum with rowᵀ row."""
    if row is None:
        return torch.linalg.eigvalsh(scatter, UPLO="L")
    summed = torch.addmm(scatter, row.T, row)
    if summed.device.type != "cpu":
        return torch.linalg.eigvalsh(summed, UPLO="L")
    # PyTorch would make another copy; the lower triangle is the upper one of the transposed view, in Fortran's order.
    from scipy.linalg import eigvalsh

    return torch.from_numpy(eigvalsh(summed.numpy().T, lower=False, overwrite_a=True, check_finite=False))


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
