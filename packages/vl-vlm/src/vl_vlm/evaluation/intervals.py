"""Uncertainty over items: bootstrap intervals, and two tests of whether two models differ on the same items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from vl_core.intervals import difference_p_value, resampled

Values = NDArray[np.float64]


def bootstrap_interval(
    values: Sequence[float] | Values,
    *,
    groups: Sequence[int] | NDArray[np.int64] | None = None,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a mean over resampled items (Efron and Tibshirani, 1993, Chapter 13).

    Args:
        values: One for each item, at least two.
        groups: Items with the same number, such as the captions of one image, are drawn together.
        samples: How many times to draw.
        level: Share of the drawn means inside.
        seed: Of the draws.

    Returns:
        Lower and upper end. Where all values are equal they coincide, however few there are.

    Raises:
        ValueError: If values are fewer than two, not finite, or do not fit ``groups``, or a setting is out of range.

    Example:
        >>> low, high = bootstrap_interval([0, 1] * 50)
        >>> 0.35 < low < 0.5 < high < 0.65
        True
    """
    check_settings(samples, level)
    means = resampled_means(np.asarray(values, np.float64), groups, samples, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def check_settings(samples: int, level: float) -> None:
    """Refuse settings before work is done.

    Raises:
        ValueError: If one is out of range.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}; 1000 give the second digit of an interval")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}; 95 % is 0.95")


def resampled_means(
    values: Values, groups: Sequence[int] | NDArray[np.int64] | None, samples: int, seed: int
) -> Values:
    """Means ``(samples,)`` of values whose groups are drawn with replacement."""
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"values must be at least two finite numbers, got shape {values.shape}; leave out what failed")
    members = np.arange(len(values)) if groups is None else np.asarray(groups)
    if members.shape != values.shape:
        raise ValueError(f"groups must be one for each of {len(values)} values, got {members.shape}")
    # The mean over the items of a draw needs of each group only its sum and its size.
    _, number = np.unique(members, return_inverse=True)
    sums, counts = np.bincount(number, values), np.bincount(number)

    def mean(sums: Values, counts: Values, axis: int) -> Values:
        found: Values = sums.sum(axis) / counts.sum(axis)
        return found

    return resampled(mean, sums, counts, paired=True, repetitions=samples, seed=seed)


def paired_bootstrap(
    differences: Sequence[float] | Values,
    *,
    groups: Sequence[int] | NDArray[np.int64] | None = None,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Interval of the mean difference of two models on the same items, and a two-sided p-value.

    The p-value is twice the share of drawn means on the far side of zero, with one draw added to both (Davison and
    Hinkley, 1997, Section 4.2); it is at least 2 / (samples + 1).

    Args:
        differences: First model minus second, one for each item.
        groups: As in `bootstrap_interval`.
        samples: How many times to draw.
        level: Share of the drawn means inside the interval.
        seed: Of the draws.

    Returns:
        Lower end, upper end and p-value.

    Raises:
        ValueError: As `bootstrap_interval` does.

    Example:
        >>> paired_bootstrap([1.0] * 20, samples=999)
        (1.0, 1.0, 0.002)
    """
    check_settings(samples, level)
    means = resampled_means(np.asarray(differences, np.float64), groups, samples, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), difference_p_value(means)


def sign_test(differences: Sequence[float] | Values) -> tuple[int, int, float]:
    """Exact two-sided sign test: are items that one model does better as often as items that the other does?

    On hits that are 0 or 1 this is McNemar's test (1947) in its exact form. Items must be independent.

    Args:
        differences: First model minus second, one for each item; zeros are left out.

    Returns:
        Items where the first is better, items where the second is, and the p-value from the binomial distribution.

    Raises:
        ValueError: If a difference is not finite.

    Example:
        >>> sign_test([1, 1, 1, 1, 1, -1, 0])
        (5, 1, 0.21875)
    """
    values = np.asarray(differences, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("differences must be finite, got NaN or infinity; leave out what failed")
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    total, term, tail = wins + losses, 1, 0
    # Whole numbers of any size: no rounding, however many items.
    for count in range(min(wins, losses) + 1):
        tail += term
        term = term * (total - count) // (count + 1)
    return wins, losses, min(1.0, 2 * tail / 2**total)
