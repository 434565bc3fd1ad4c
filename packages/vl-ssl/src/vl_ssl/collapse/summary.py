"""Running summary of a stream of features in float64: weights, mean, centered second moments, SimSiam's deviations.

Blocks of rows enter, and summaries merge, by the update of Chan, Golub and LeVeque (1979): two groups of weights a and
b, means μ_a and μ_b and centered scatters S_a and S_b have together

    S = S_a + S_b + a b / (a + b) (μ_b - μ_a)(μ_b - μ_a)ᵀ,

which is one more row, √(a b / (a + b)) (μ_b - μ_a), beside the centered rows. A kind of summary therefore only says how
rows are folded into what it keeps of the scatter: all of it, a triangular factor, or a sketch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

# Numbers in a block of rows: what an update needs beside the state is a megabyte.
_BLOCK_NUMBERS = 2**16
# Rows that are shorter have no direction: squares of their numbers vanish in float64.
_SHORTEST = 1e-140
_EPSILON = torch.finfo(torch.float64).eps


class Summary(ABC):
    """Weighted mean and centered scatter of rows ``(n, d)``; the kinds differ in what they keep of the scatter.

    Args:
        dimensions: Width d of the features.
        device: Where the sums are kept, in float64.
    """

    kind = ""
    """Name of the core in saved states."""
    linear = True
    """True if the core of a merged summary is the sum of the cores and of what the rows of the means add."""

    def __init__(self, dimensions: int, device: torch.device):
        self.dimensions = dimensions
        self.count = 0
        self.weight = 0.0
        self.weight_squares = 0.0
        self.mean = torch.zeros(dimensions, dtype=torch.float64, device=device)
        # Of the rows scaled to unit length, each dimension alone.
        self.unit_mean = torch.zeros_like(self.mean)
        self.unit_squares = torch.zeros_like(self.mean)
        # Kept from block to block, since fresh memory costs more than the arithmetic in it.
        self._buffers: Tensor | None = None

    # What a kind keeps of the scatter.

    @property
    @abstractmethod
    def core(self) -> Tensor:
        """The tensor that stands for the centered scatter."""

    @core.setter
    @abstractmethod
    def core(self, value: Tensor) -> None: ...

    @abstractmethod
    def fold(self, rows: Tensor) -> None:
        """Add rowsᵀ rows to the scatter; ``(B, d)`` float64, which may be overwritten."""

    @abstractmethod
    def fold_core(self, core: Tensor) -> None:
        """Add the scatter that another core of this kind stands for."""

    @abstractmethod
    def scale(self, factor: float) -> None:
        """Multiply the scatter."""

    @abstractmethod
    def spectrum(self, *, centered: bool = True) -> Tensor:
        """Singular values ``(d,)`` of the weighted rows, descending, on the CPU; rounding is replaced with zero."""

    def estimated(self) -> tuple[Tensor, float]:
        """Singular values of centered rows, and the share of their squares that is estimated."""
        return self.spectrum(), 0.0

    # What they share.

    @property
    def device(self) -> torch.device:
        """Device of the sums."""
        return self.mean.device

    @property
    def block_rows(self) -> int:
        """Rows that enter at a time."""
        return max(64, _BLOCK_NUMBERS // self.dimensions)

    @property
    def effective(self) -> float:
        """Effective number of samples of the weights, (Σ w)² / Σ w² (Kish, 1965)."""
        return self.weight**2 / self.weight_squares if self.weight_squares else 0.0

    @property
    def unit_deviation(self) -> float:
        """Mean over dimensions of the standard deviation of the rows scaled to unit length."""
        return float((self.unit_squares / self.weight).sqrt().mean()) if self.weight else 0.0

    def update(self, rows: Tensor, *, half_life: float | None = None) -> None:
        """Add rows ``(B, d)`` of finite numbers, in blocks.

        Args:
            rows: Any floating dtype and device.
            half_life: Samples after which the weight of a row has halved; by default all weigh 1.
        """
        for block in torch.split(rows, self.block_rows) if len(rows) else ():
            self._add(block, half_life)

    def merge(self, other: Summary) -> None:
        """Add all rows of another summary of the same kind and width, by their weights there."""
        if not other.count:
            return
        self.fold_core(other.core.to(self.device))
        shift = self.join(other.numbers(), other.means().to(self.device))
        self.fold(shift[None])

    def numbers(self) -> tuple[float, float, float]:
        """Count, weight and sum of squared weights."""
        return float(self.count), self.weight, self.weight_squares

    def means(self) -> Tensor:
        """Mean, mean of unit rows and their squared deviations, ``(3, d)``."""
        return torch.stack([self.mean, self.unit_mean, self.unit_squares])

    def join(self, numbers: tuple[float, float, float], means: Tensor) -> Tensor:
        """Take over the numbers and means of a group of rows; return the row ``(d,)`` that its mean adds to fold."""
        count, weight, weight_squares = numbers
        mean, unit_mean, unit_squares = means
        total = self.weight + weight
        both = self.weight * weight / total
        shift, unit_shift = mean - self.mean, unit_mean - self.unit_mean
        self.mean += shift * (weight / total)
        self.unit_mean += unit_shift * (weight / total)
        self.unit_squares += unit_squares + both * unit_shift.square()
        self.count, self.weight = self.count + int(count), total
        self.weight_squares += weight_squares
        added: Tensor = shift * math.sqrt(both)
        return added

    def _add(self, rows: Tensor, half_life: float | None) -> None:
        n = len(rows)
        if self._buffers is None or self._buffers.shape[1] <= n:
            self._buffers = torch.empty(2, n + 1, self.dimensions, dtype=torch.float64, device=self.device)
        # The rows, and one more for the shift of the mean.
        block, unit = self._buffers[0, : n + 1], self._buffers[1, :n]
        centered = block[:n].copy_(rows)
        weights = centered.new_ones(n)
        if half_life is not None:
            ages = torch.arange(n - 1, -1, -1, dtype=torch.float64, device=self.device)
            weights = torch.exp2(-ages / half_life)
            self.decay(2.0 ** (-n / half_life))
        weight = float(weights.sum())
        # A row of zeros has no direction and stays zero, as in torch.nn.functional.normalize.
        lengths = torch.linalg.vector_norm(centered, dim=1, keepdim=True).clamp_min_(_SHORTEST)
        torch.div(centered, lengths, out=unit)
        mean, unit_mean = (weights @ centered) / weight, (weights @ unit) / weight
        unit_squares = weights @ unit.sub_(unit_mean).square_()
        centered -= mean
        if half_life is not None:
            centered *= weights.sqrt_()[:, None]
        squares = float(weights.square().sum()) if half_life is None else float(weights.pow(4).sum())
        block[n] = self.join((n, weight, squares), torch.stack([mean, unit_mean, unit_squares]))
        self.fold(block)

    def decay(self, factor: float) -> None:
        """Multiply the weights of all rows so far."""
        self.scale(factor)
        self.weight *= factor
        self.weight_squares *= factor**2
        self.unit_squares *= factor

    def mean_row(self) -> Tensor:
        """The row √W μ ``(1, d)``: folded into the centered scatter it gives that of the rows as they are."""
        return (math.sqrt(self.weight) * self.mean)[None]

    def rounding(self) -> float:
        """Singular values of centered features below this are rounding of the mean that was subtracted."""
        # Sums of blocks and means are good to a few tens of units in the last place.
        return 64 * _EPSILON * float(self.mean_row().norm())

    def state_dict(self) -> dict[str, Tensor]:
        """All that is kept, as tensors."""
        numbers = torch.tensor(self.numbers(), dtype=torch.float64)
        return {"numbers": numbers, "means": self.means(), self.kind: self.core.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what another summary of this kind and width kept."""
        count, self.weight, self.weight_squares = state["numbers"].tolist()
        self.count = int(count)
        means = state["means"].to(self.device, torch.float64)
        self.mean, self.unit_mean, self.unit_squares = means.clone().unbind()
        self.core = state[self.kind].to(self.device, torch.float64).clone()


def without_rounding(values: Tensor, floor: float, dimensions: int) -> Tensor:
    """Singular values as ``(dimensions,)`` on the CPU, descending, with those of at most `floor` replaced with zero."""
    values = values.to("cpu").sort(descending=True).values[:dimensions]
    values = torch.where(values > floor, values, 0.0)
    return torch.nn.functional.pad(values, (0, dimensions - len(values)))
