"""How strongly paired differences say that a class is worse than another, at whatever moment one looks.

The differences d_1, d_2 ... are a class's error minus the other's on the same draws. Both kinds of evidence are a
number that starts at 1 and that, if the class is in truth no worse, ever exceeds 1 / a with a probability of at most
a (Ville's inequality). One may therefore look after every draw, and stop when one likes. They are summed as the draws
come, so that a look costs no more than the draws that are new.

What is in truth? The mean over the M draws that there are, which an exhaustive search would find (``population=M``),
or the mean over endlessly many (``population=None``). The former grows certain as the M draws run out, the latter
never.

**Student's t.** Let the d be normal with deviation sigma, and theta the mean in question. Given theta, n of them have

    mean m ~ N(theta, sigma^2 v),   v = 1/n - 1/M,   and, independently, W = sum (d - m)^2 ~ sigma^2 chi^2(n - 1),

with 1/M = 0 for endlessly many. Give the effect size theta / sigma the prior N(0, g), and sigma the Haar prior d
sigma / sigma. The ratio of the marginal likelihoods of this and of theta = 0 depends on the data through their
scale-free form alone, and is therefore a martingale under theta = 0 whatever sigma is (Lai 1976; Perez-Ortiz et al.
2024):

    e_n = (1 + g/v)^(-1/2) R,   R = [(W + m^2/v) / (W + m^2/(v + g))]^(n/2).

Only a positive mean speaks against a class, so the prior is folded to positive effects. The same integral then gains
the factor 2 P(t_n <= x), for a Student variable of n degrees of freedom and (1 + x^2/n)^(n/2) = R, x having the sign
of m. A normal tail beyond z > 0 is at most exp(-z^2/2) / 2; averaged over the chi-square, P(t_n > x) <= 1 / (2 R).
Hence

    folded e_n >= (1 + g/v)^(-1/2) (2 R - 1)   where m > 0.

This is what is computed; of the hundreds that a decision takes it lacks less than 1. The folded ratio grows with m /
sqrt(W), since the noncentral t family has monotone likelihood ratios, and a smaller theta lowers m and leaves W
alone: what holds for theta = 0 holds for every theta < 0.

**Empirical Bernstein.** No normality, but a known bound: the predictable plug-in process of theorem 2 of Waudby-Smith
& Ramdas (2024), the half of it that speaks for a positive mean, with the level unhalved. Where the M draws are all
there are, a draw's expectation under the null is that of what is left, as in the authors' section on sampling without
replacement.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

Bound = Literal["t", "bernstein"]

# The largest bet of the Bernstein process, as its authors advise.
_LARGEST_BET = 0.5


class Evidence(Protocol):
    """Evidence on A classes, gathered draw by draw."""

    def add(self, differences: np.ndarray) -> None:
        """Take in the differences ``(A, new)`` on the next draws."""
        ...

    def keep(self, kept: np.ndarray) -> None:
        """Forget all classes but these: bool ``(A,)``."""
        ...

    def log(self) -> np.ndarray:
        """Natural logarithm ``(A,)`` of the evidence that the mean difference is positive."""
        ...


class StudentEvidence:
    """Evidence for normal differences of any scale.

    Args:
        before: Differences ``(A, n0)`` on draws that do not count as evidence, but belong to the population.
        prior: g, the variance of the effect size (mean over standard deviation) that is reckoned with.
        population: M, the number of draws that there are; None for endlessly many.
    """

    def __init__(self, before: np.ndarray, *, prior: float, population: int | None = None) -> None:
        self._prior = prior
        self._left = None if population is None else population - before.shape[1]
        # The mean over all M draws is positive if that over the rest exceeds minus this.
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
        """See :class:`Evidence`; minus infinity where the mean is not positive."""
        variance = 1 / self._count - (0 if self._left is None else 1 / self._left)
        mean = self._total / self._count
        if variance <= 0:
            # All draws are seen.
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
    """Half the widths of intervals that cover normal means at all times at once, but for a probability of `error`.

    An interval holds the means theta against which the unfolded ratio ``(1 + g n)^(-1/2) R`` of the differences less
    theta is below 1 / error, endlessly many draws being there; solved for theta.

    Args:
        standard_errors: Of means over `count` draws, of any shape.
        count: n, two or more where a standard error is known; of the same shape.
        error: The largest probability with which the interval ever misses.
        prior: g, as for :class:`StudentEvidence`.

    Returns:
        Of the same shape; infinite where there are too few draws to say anything, NaN where the standard error is.
    """
    count = np.maximum(count, 2)
    spread = 1 + prior * count
    ratio = (np.sqrt(spread) / error) ** (2 / count)
    squares = (count - 1) * (ratio - 1) * spread
    squares = np.divide(squares, spread - ratio, out=np.full(count.shape, np.inf), where=ratio < spread)
    half: np.ndarray = np.where(standard_errors == 0, 0, np.sqrt(squares)) * standard_errors
    return half


class BernsteinEvidence:
    """Evidence for bounded differences; it never falls, since the largest value that it has had is what counts.

    Args:
        before: Differences ``(A, n0)`` on draws that do not count as evidence, but belong to the population.
        level: The probability of error that the bets are tuned to; the evidence is valid at every other, too.
        spread: No difference is larger in magnitude.
        population: M, the number of draws that there are; None for endlessly many.
    """

    def __init__(self, before: np.ndarray, *, level: float, spread: float, population: int | None = None) -> None:
        self._log_level, self._spread, self._population = np.log(1 / level), spread, population
        self._seen = before.shape[1]
        self._total = before.sum(1)
        self._count = 0
        # Of the values in 0 ... 1 that the differences are scaled to: sum, squared deviations, log evidence, its peak.
        self._state = np.tile([[0.5], [0.25], [0.0], [0.0]], len(before))

    def add(self, differences: np.ndarray) -> None:
        values = (differences / self._spread + 1) / 2
        sums, squares, evidence, peak = self._state[:, :, None]
        new = values.shape[1]
        count = self._count + np.arange(1, new + 1)
        sums = sums + values.cumsum(1)
        mean = sums / (count + 1)
        squares = squares + ((values - mean) ** 2).cumsum(1)
        # What is known before a value is seen: a bet must not depend on it.
        mean_before = np.concatenate([self._state[0][:, None] / (self._count + 1), mean[:, :-1]], 1)
        squares_before = np.concatenate([self._state[1][:, None], squares[:, :-1]], 1)
        # Under the null: half of the scale, or what is left of the draws once those before are taken out.
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
        """See :class:`Evidence`."""
        peak: np.ndarray = self._state[3]
        return peak
