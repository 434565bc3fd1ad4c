"""A sketch of the scatter for wide features, and an estimate of the part of the spectrum that it cannot resolve.

A Nyström sketch of n columns misses the trace T_n of the scatter. For random columns, T_n = n μ_n up to fluctuations,
where Σ λ / (λ + μ_n) = n over all eigenvalues λ; and an eigenvalue λ that stands out appears as ℓ = λ² / (λ + μ_n).
(Solve that det Ωᵀ S (S - ℓ) Ω = 0 for Gaussian Ω.) Any n of the columns are a sketch too, so that T_1 to T_rank tell of
the rest of the spectrum as far as μ_rank goes; below it the sum alone is known, and a shape has to be assumed.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vl_ssl.collapse.summary import Summary, without_rounding

_EPSILON = torch.finfo(torch.float64).eps
_SEED = 0  # of the test matrix, which must be the same wherever sketches are merged
_ROTATIONS = 4  # of the columns, over which T_n is averaged
_RESOLVED = 3.0  # times μ, above which a singular value is taken as found
_SCATTER, _JUMP, _BEND = 0.05, 0.2, 0.5  # errors that are expected of log μ, and of log λ and its slope at the joint
_GROUPS = 400  # of the tail's eigenvalues while it is fitted

_Array: TypeAlias = npt.NDArray[np.float64]


class SketchSummary(Summary):
    """The product of the scatter with a random matrix Ω ``(d, rank)``, and its trace: a Nyström sketch.

    Tropp et al., *Fixed-Rank Approximation of a Positive-Semidefinite Matrix from Streaming Data*, 2017. The product is
    linear in the scatter, so that chunks, order and ranks do not matter here either. The spectrum is exact where
    it has at most `rank` values. Of a longer one the largest are kept, and the others are estimated: they have exactly
    the trace that is left, and otherwise the shape of `estimated_tail`.
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
        return self._spectrum(centered)[0]

    def estimated(self) -> tuple[Tensor, float]:
        return self._spectrum(True)

    def _spectrum(self, centered: bool) -> tuple[Tensor, float]:
        """Singular values, and the share of the trace that is estimated."""
        sketch, trace = self._sketch[:-1], float(self._sketch[-1, 0])
        if not centered:
            row = self.mean_row()
            sketch, trace = torch.addmm(sketch, row.T, row @ self._test), trace + float(row.square().sum())
        if not trace > 0:
            return torch.zeros(self.dimensions, dtype=torch.float64), 0.0
        # The eigenvalues of Y (Ωᵀ Y)⁺ Yᵀ, with a shift that makes the inverse a stable one.
        shift = math.sqrt(self.dimensions) * _EPSILON * trace
        shifted = torch.add(sketch, self._test, alpha=shift)
        inner = self._test.T @ shifted
        inner = (inner + inner.T) / 2
        eigenvalues, vectors = torch.linalg.eigh(inner)
        vectors = vectors / eigenvalues.clamp_min(shift / 2).sqrt()
        found = torch.linalg.svdvals(shifted @ vectors).square().sub(shift).clamp_min(0)
        # The trace of a scatter is good to about as many digits as its eigenvalues are.
        floor = 100 * self.dimensions * _EPSILON * trace
        found = torch.where(found > floor, found, 0.0)
        missed, share = trace - float(found.sum()), 0.0
        rank = min(self.dimensions, self.count - int(centered))
        if missed > floor and rank > len(found):
            level = missed / len(found)
            top = found[found > _RESOLVED * level]
            top = (top + (top.square() + 4 * level * top).sqrt()) / 2
            left = trace - float(top.sum())
            if left > floor:
                share = left / trace
                traces = _missed_traces(shifted, inner, trace)
                traces[-1] = missed
                tail = estimated_tail(top.cpu().numpy(), left, traces, rank - len(top))
                found = torch.cat([top.cpu(), torch.from_numpy(tail)])
        return without_rounding(found.sqrt(), self.rounding() * centered, self.dimensions), share


def _missed_traces(sketch: Tensor, inner: Tensor, trace: float) -> _Array:
    """T_n that a sketch of n columns misses, for n = 1 to all; NaN or too small where rounding decides."""
    factor = torch.linalg.qr(sketch, mode="r").R
    generator, rank = torch.Generator().manual_seed(_SEED), len(inner)
    total = torch.zeros(rank, dtype=torch.float64, device=inner.device)
    for _ in range(_ROTATIONS):
        # Other columns of the same space, so that no order of them counts.
        rotation = torch.linalg.qr(torch.randn(rank, rank, dtype=torch.float64, generator=generator)).Q.to(inner.device)
        lower, _ = torch.linalg.cholesky_ex(rotation.T @ inner @ rotation)
        columns = torch.linalg.solve_triangular(lower, (factor @ rotation).T, upper=False)
        total += trace - columns.square().sum(dim=1).cumsum(0)
    found: _Array = (total / _ROTATIONS).cpu().numpy()
    return found


def estimated_tail(resolved: _Array, left: float, missed: _Array, size: int) -> _Array:
    """Eigenvalues ``(size,)``, descending, below those that a sketch resolves, with the sum that is left.

    Their shape is (1 + ξ u / τ)^(-1/ξ) over their index u: a power law for ξ > 0, as steep or as flat as the data want,
    an exponential at ξ = 0, and one that ends for ξ < 0. τ and ξ fit the traces that sketches of fewer columns miss,
    and continue value and slope of the resolved ones, which a step in the spectrum may overrule.

    Args:
        resolved: Largest eigenvalues, descending; may be empty.
        left: Sum of the others.
        missed: Traces T_n that sketches of n columns miss, n = 1 to the rank.
        size: Number of the others.
    """
    from scipy.optimize import least_squares

    known, rank = len(resolved), len(missed)
    first = max(1, rank // 8, min(3 * rank // 4, round(1.3 * known)))
    counts = np.unique(np.geomspace(first, rank, 10).astype(int))
    counts = counts[np.nan_to_num(missed[counts - 1]) >= missed[-1]]
    levels = missed[counts - 1] / counts
    edges = np.unique(np.round(np.geomspace(1, size + 1, _GROUPS)).astype(int)) - 1
    weights = np.diff(edges)
    middles, every = edges[:-1] + weights / 2, np.arange(size, dtype=np.float64) + 0.5
    fitted, slope, end = known >= 6, 0.0, 0.0
    if fitted:
        index = np.arange(known - max(3, known // 4), known) + 1
        slope, end = np.polyfit(np.log(index), np.log(resolved[-len(index) :]), 1)
        slope, end = math.log(max(-slope, 1e-3)), end + slope * math.log(known + 0.5)

    def errors(shape: _Array) -> list[float]:
        tail = _shape(middles, size, shape)
        tail *= left / float(weights @ tail)
        of_tail, of_resolved = (x / (x + levels[:, None]) for x in (tail[None], resolved[None]))
        expected = of_resolved.sum(1) + of_tail @ weights
        slopes = (of_resolved * (1 - of_resolved)).sum(1) + (of_tail * (1 - of_tail)) @ weights
        found = [*((expected - counts) / slopes / _SCATTER), *(0.002 * shape)]
        if known:
            found.append(max(0.0, math.log(tail[0] / resolved[-1])) / _JUMP)
        if fitted:
            fall = (known + 1) * max(math.log(tail[0] / max(tail[1], 1e-300)), 0) if len(tail) > 1 else 0.0
            found.append(_bounded((math.log(tail[0]) - end) / _JUMP))
            found.append(_bounded((math.log(max(fall, 1e-3)) - slope) / _BEND))
        return found

    starts = ((0.0, 0.0), (-2.0, 1.0), (-2.0, -1.0), (-4.0, 0.5))
    fits = [least_squares(errors, start, bounds=([-15, -6], [8, 8])) for start in starts]
    best = min(fits, key=lambda fit: float(fit.cost))
    tail = _shape(every, size, np.asarray(best.x, np.float64))
    return np.asarray(tail * (left / tail.sum()))


def _shape(index: _Array, size: int, shape: _Array) -> _Array:
    """(1 + ξ u / τ)^(-1/ξ) of the index over the size, the first one 1; the shape is log τ and ξ."""
    scaled, bend = index / size * math.exp(-shape[0]), float(shape[1])
    logs = -scaled if abs(bend) < 1e-6 else -np.log(np.maximum(1 + bend * scaled, 1e-300)) / bend
    return np.asarray(np.exp(np.maximum(logs - logs[0], -600)))


def _bounded(error: float) -> float:
    """An error whose square grows with its logarithm alone, so that a step in the spectrum costs little."""
    return math.copysign(math.sqrt(math.log1p(error * error)), error)
