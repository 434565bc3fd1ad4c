"""Anytime-valid evidence from paired differences that one class is worse than another.

The differences d_1, d_2 ... are a class's error minus the other's on the same draws. Both kinds of evidence are test
martingales (e-processes): they start at 1 and, if the class is not worse, ever exceed 1 / a with probability at most a
(Ville's inequality). The evidence may therefore be checked after every draw, with optional stopping. Sums are updated
as draws arrive, so a check costs only as much as the new draws.

"Worse" refers either to the mean over the M available draws, which exhaustive search would find (``population=M``), or
to the mean over infinitely many draws (``population=None``). The former becomes certain as the M draws are used up; the
latter never does.

**Student's t.** Let the d be normal with standard deviation sigma and mean theta. Given theta, n of them have

    mean m ~ N(theta, sigma^2 v),   v = 1/n - 1/M,   and, independently, W = sum (d - m)^2 ~ sigma^2 chi^2(n - 1),

with 1/M = 0 for infinitely many draws. Give the effect size theta / sigma the prior N(0, g), and sigma the Haar prior d
sigma / sigma. The ratio of the marginal likelihoods of this and of theta = 0 depends on the data through their
scale-free form alone, and is therefore a martingale under theta = 0 whatever sigma is (Lai 1976; Perez-Ortiz et al.
2024):

    e_n = (1 + g/v)^(-1/2) R,   R = [(W + m^2/v) / (W + m^2/(v + g))]^(n/2).

Only a positive mean is evidence against a class, so the prior is folded to positive effects. The integral then gains
the factor 2 P(t_n <= x), for a Student variable with n degrees of freedom and (1 + x^2/n)^(n/2) = R, where x has the
sign of m. A normal tail beyond z > 0 is at most exp(-z^2/2) / 2; averaged over the chi-square, P(t_n > x) <= 1 / (2 R).
Hence

    folded e_n >= (1 + g/v)^(-1/2) (2 R - 1)   where m > 0.

This lower bound is computed; a decision takes evidence in the hundreds, of which the bound loses less than 1. The
folded ratio increases with m / sqrt(W), since the noncentral t family has monotone likelihood ratios, and a smaller
theta lowers m without changing W, so validity at theta = 0 implies validity at every theta < 0.

**Empirical Bernstein.** Assumes a known bound instead of normality: the predictable plug-in process of theorem 2 of
Waudby-Smith & Ramdas (2024), one-sided for a positive mean, with the full level on that side. For a population of M
draws, a draw's expectation under the null is the mean of the remaining draws, as in the authors' section on sampling
without replacement.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

Bound = Literal["t", "bernstein"]

# The largest bet of the Bernstein process, as its authors recommend.
_LARGEST_BET = 0.5


class Evidence(Protocol):
    """Evidence against A classes, accumulated draw by draw."""

    def add(self, differences: np.ndarray) -> None:
        """Add the differences ``(A, new)`` on the next draws."""
        ...

    def keep(self, kept: np.ndarray) -> None:
        """Drop all classes except those selected by the mask, bool ``(A,)``."""
        ...

    def log(self) -> np.ndarray:
        """Natural logarithm ``(A,)`` of the evidence that the mean difference is positive."""
        ...


class StudentEvidence:
    """Evidence for normal differences of unknown scale.

    Args:
        before: Differences ``(A, n0)`` on draws that belong to the population but are not used as evidence.
        prior: g, the prior variance of the effect size (mean over standard deviation).
        population: M, the number of available draws; None for infinitely many.
    """

    def __init__(self, before: np.ndarray, *, prior: float, population: int | None = None) -> None:
        self._prior = prior
        self._left = None if population is None else population - before.shape[1]
        # The mean over all M draws is positive if the mean over the remaining draws exceeds minus this.
        self._shift = np.zeros(len(before)) if self._left is None else before.sum(1) / self._left
        self._count = 0
        self._total = np.zeros(len(before))
        self._squares = np.zeros(len(before))

    def add(self, differences: np.ndarray) -> None:
        shifted = differences + self._shift[:, None]
        self._count += shifted.shape[1]
        self._total += shifted.sum(1)
        self._squares += np.einsum("ij,ij->i", shifted, shifted)

    def keep(self, kept: np.ndarray) -> None:
        self._shift, self._total, self._squares = self._shift[kept], self._total[kept], self._squares[kept]

    def log(self) -> np.ndarray:
        """Logarithm of the evidence, see :class:`Evidence`; minus infinity where the mean is not positive."""
        variance = 1 / self._count - (0 if self._left is None else 1 / self._left)
        mean = self._total / self._count
        if variance <= 0:
            # No draws remain.
            return np.where(mean > 0, np.inf, -np.inf)
        within = np.maximum(self._squares - self._total * mean, 0)
        against = mean > 0
        narrow, wide = within + mean**2 / variance, within + mean**2 / (variance + self._prior)
        log_ratio = self._count / 2 * np.log(np.divide(narrow, wide, out=np.ones_like(mean), where=against))
        evidence = log_ratio + np.log(2 - np.exp(-log_ratio)) - np.log1p(self._prior / variance) / 2
        return np.where(against, evidence, -np.inf)


def anytime_half_widths(
    standard_errors: np.ndarray, count: np.ndarray, *, error: float, prior: float = 1.0
) -> np.ndarray:
    """Half-widths of a confidence sequence, which covers normal means at all times with probability 1 - `error`.

    An interval contains every mean theta for which the unfolded ratio ``(1 + g n)^(-1/2) R`` of the differences minus
    theta is below 1 / error, for infinitely many draws; solved for theta.

    Args:
        standard_errors: Standard errors of means over `count` draws, of any shape.
        count: n, two or more where a standard error is known; of the same shape.
        error: Largest probability that the interval ever misses the mean.
        prior: g, see :class:`StudentEvidence`.

    Returns:
        Half-widths of the same shape; infinite where there are too few draws, NaN where the standard error is NaN.
    """
    count = np.maximum(count, 2)
    spread = 1 + prior * count
    ratio = (np.sqrt(spread) / error) ** (2 / count)
    squares = (count - 1) * (ratio - 1) * spread
    squares = np.divide(squares, spread - ratio, out=np.full(count.shape, np.inf), where=ratio < spread)
    half: np.ndarray = np.where(standard_errors == 0, 0, np.sqrt(squares)) * standard_errors
    return half


class BernsteinEvidence:
    """Evidence for bounded differences, reported as its running maximum.

    Args:
        before: Differences ``(A, n0)`` on draws that belong to the population but are not used as evidence.
        level: Error probability that the bets are tuned for; the evidence is valid at every level.
        spread: Upper bound on the magnitude of a difference.
        population: M, the number of available draws; None for infinitely many.
    """

    def __init__(self, before: np.ndarray, *, level: float, spread: float, population: int | None = None) -> None:
        self._log_level, self._spread, self._population = np.log(1 / level), spread, population
        self._seen = before.shape[1]
        self._total = before.sum(1)
        self._count = 0
        # For differences scaled to [0, 1]: sum, squared deviations, log evidence, and its running maximum.
        self._state = np.tile([[0.5], [0.25], [0.0], [0.0]], len(before))

    def add(self, differences: np.ndarray) -> None:
        values = (differences / self._spread + 1) / 2
        sums, squares, evidence, peak = self._state[:, :, None]
        new = values.shape[1]
        count = self._count + np.arange(1, new + 1)
        sums = sums + values.cumsum(1)
        mean = sums / (count + 1)
        squares = squares + ((values - mean) ** 2).cumsum(1)
        # Statistics before each value: a bet must not depend on the value itself.
        mean_before = np.concatenate([self._state[0][:, None] / (self._count + 1), mean[:, :-1]], 1)
        squares_before = np.concatenate([self._state[1][:, None], squares[:, :-1]], 1)
        # Expectation under the null: the middle of the scale, or the mean of the remaining draws.
        expected = np.full_like(values, 0.5)
        if self._population is not None:
            before = self._total[:, None] + differences.cumsum(1) - differences
            left = self._population - self._seen - np.arange(new)
            expected -= before / left / (2 * self._spread)
        bet = np.minimum(np.sqrt(2 * self._log_level / (squares_before * np.log1p(count))), _LARGEST_BET)
        gain = bet * (values - expected) - (values - mean_before) ** 2 * (-np.log1p(-bet) - bet)
        evidence = evidence + gain.cumsum(1)
        self._state = np.stack([sums[:, -1], squares[:, -1], evidence[:, -1], np.maximum(peak[:, 0], evidence.max(1))])
        self._total = self._total + differences.sum(1)
        self._count += new
        self._seen += new

    def keep(self, kept: np.ndarray) -> None:
        self._total, self._state = self._total[kept], self._state[:, kept]

    def log(self) -> np.ndarray:
        """Logarithm of the evidence, see :class:`Evidence`."""
        peak: np.ndarray = self._state[3]
        return peak
