"""Bootstrap intervals: rows are drawn anew with replacement, and the quantiles of a statistic are the interval.

Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, Chapter 13. Draws are addressed as in `vl_core.noise`:
the row that comes to a place is a pure function of seed, sample, repetition and place, made by NumPy's Philox 4x64-10.
So several statistics can share their draws, and how many repetitions are held at once changes nothing.

A bootstrap of a few values, such as those of three seeds, is too narrow; `student_interval` is for these.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vl_core._extras import import_extra

__all__ = [
    "Difference",
    "Interval",
    "bootstrap",
    "bootstrap_all",
    "difference_p_value",
    "paired_difference",
    "resampled",
    "student_interval",
]

Values: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.int64]
Statistic: TypeAlias = Callable[..., Any]
"""From samples to a number. One with an argument ``axis``, like `numpy.median`, is given many resamples at once."""

_CELLS = 1 << 18  # of a sample, drawn at once: a few megabytes


@dataclass(frozen=True)
class Interval:
    """An estimate with a confidence interval."""

    estimate: float
    """The statistic of what was observed."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""


@dataclass(frozen=True)
class Difference(Interval):
    """A difference of two on the same rows, with its interval."""

    p_value: float
    """Two-sided, see `difference_p_value`."""


def bootstrap(
    statistic: Statistic,
    *samples: ArrayLike,
    paired: bool = False,
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    repetitions: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Statistic with a percentile interval.

    Args:
        statistic: Takes the samples, gives a number. If it has an argument ``axis``, it is given ``(R, N, ...)`` and
            ``axis=1`` and gives ``(R,)``.
        samples: Each ``(N, ...)``, at least one row. They are drawn independently of each other.
        paired: The samples have rows in common, which are drawn together.
        groups: Labels ``(N,)``; rows of equal label, such as the captions of one image, are drawn together. For one
            sample or paired ones.
        strata: Labels ``(N,)``; a row is replaced by one of equal label, so that each label keeps its number of rows
            and, without groups, its places. For one sample or paired ones; a group lies in one stratum.
        repetitions: How often to draw; 1000 give two digits of an interval.
        level: Share of the drawn statistics inside.
        seed: Of the draws, below ``2**64``.

    Returns:
        The estimate and both ends. Where all resamples agree, as those of a single row do, the ends coincide.

    Raises:
        ValueError: If a sample is empty or not finite, labels do not fit it, a setting is out of range, or the
            statistic of a resample is not a finite number.

    Example:
        >>> found = bootstrap(np.mean, [0.0, 1.0] * 50)
        >>> found.estimate, 0.35 < found.low < 0.5 < found.high < 0.65
        (0.5, True)
    """
    return bootstrap_all(
        {"statistic": statistic}, *samples, paired=paired, groups=groups, strata=strata, repetitions=repetitions,
        level=level, seed=seed,
    )["statistic"]  # fmt: skip


def bootstrap_all(
    statistics: Mapping[str, Statistic],
    *samples: ArrayLike,
    paired: bool = False,
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    repetitions: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Several statistics of the same draws, by name; each as `bootstrap` gives it, which explains the arguments.

    Example:
        >>> found = bootstrap_all({"mean": np.mean, "median": np.median}, [1.0, 2.0, 6.0])
        >>> found["mean"].estimate, found["median"].estimate
        (3.0, 2.0)
    """
    _check_level(level)
    design = _design(samples, paired, groups, strata, repetitions, seed)
    return {
        name: _interval(_observed(name, function, design), values, level)
        for (name, function), values in zip(statistics.items(), _distributions(statistics, design), strict=True)
    }


def resampled(
    statistic: Statistic,
    *samples: ArrayLike,
    paired: bool = False,
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    repetitions: int = 1000,
    seed: int = 0,
) -> Values:
    """Statistic of every resample, ``(repetitions,)``; `bootstrap` explains the arguments.

    Example:
        >>> resampled(np.mean, [3.0, 3.0], repetitions=4).tolist()
        [3.0, 3.0, 3.0, 3.0]
    """
    return _distributions({"statistic": statistic}, _design(samples, paired, groups, strata, repetitions, seed))[0]


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    statistic: Statistic = np.mean,
    *,
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    repetitions: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference of a statistic between two that were measured on the same rows, such as two models on the same images.

    Args:
        first: ``(N, ...)``.
        second: Same number of rows, in the same order.
        statistic: Of one sample, as for `bootstrap`.
        groups: As for `bootstrap`.
        strata: As for `bootstrap`.
        repetitions: As for `bootstrap`.
        level: As for `bootstrap`.
        seed: As for `bootstrap`.

    Returns:
        First minus second, with interval and p-value.

    Raises:
        ValueError: As `bootstrap`.

    Example:
        >>> paired_difference([2.0, 5.0, 9.0], [1.0, 4.0, 8.0], repetitions=999)
        Difference(estimate=1.0, low=1.0, high=1.0, p_value=0.002)
    """
    _check_level(level)
    design = _design((first, second), True, groups, strata, repetitions, seed)

    def gap(one: Values, other: Values, axis: int) -> Any:
        if _takes_axis(statistic):
            return statistic(one, axis=axis) - statistic(other, axis=axis)
        return np.array([statistic(a) - statistic(b) for a, b in zip(one, other, strict=True)])

    (values,) = _distributions({"statistic": gap}, design)
    found = _interval(_observed("statistic", gap, design), values, level)
    return Difference(found.estimate, found.low, found.high, difference_p_value(values))


def difference_p_value(values: ArrayLike) -> float:
    """Two-sided p-value of a resampled difference.

    Twice the share of resamples on the far side of zero, one resample added to both (Davison and Hinkley, *Bootstrap
    Methods and their Application*, 1997, Section 4.2); at least ``2 / (repetitions + 1)``.

    Args:
        values: Resampled differences ``(repetitions,)``.

    Example:
        >>> difference_p_value([1.0, 2.0, -1.0, 3.0, 1.0, 2.0, 2.0])
        0.5
    """
    drawn = np.asarray(values, np.float64)
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (drawn.size + 1))


def student_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of a few independent values with Student's interval, such as a score over seeds, or differences of pairs.

    Args:
        values: ``(N,)``, at least two, drawn from about a normal distribution.
        level: Probability that the interval covers the mean of that distribution.

    Raises:
        ValueError: If there are fewer than two values, one is not finite, or ``level`` is not between 0 and 1.
        ModuleNotFoundError: If SciPy, the extra ``statistics``, is not installed.

    Example:
        >>> found = student_interval([1.0, 2.0, 3.0])
        >>> f"{found.estimate:.1f}, {found.low:.2f} to {found.high:.2f}"
        '2.0, -0.48 to 4.48'
    """
    _check_level(level)
    sample = _sample(0, values)
    if sample.ndim != 1 or len(sample) < 2:
        raise ValueError(f"values must be a row of at least two, got shape {sample.shape}; one has no spread")
    quantile = import_extra("scipy.stats", "statistics").t.ppf(0.5 + level / 2, len(sample) - 1)
    mean, half = float(sample.mean()), float(quantile * sample.std(ddof=1) / len(sample) ** 0.5)
    return Interval(mean, mean - half, mean + half)


class _Design(NamedTuple):
    """Settings of the draws: samples, and how rows may take each other's places."""

    samples: list[Values]
    paired: bool
    groups: Rows | None  # group of each row, from 0
    strata: Rows | None  # stratum of each row, or of each group where there are groups, from 0
    repetitions: int
    seed: int


def _design(
    samples: Sequence[ArrayLike],
    paired: bool,
    groups: ArrayLike | None,
    strata: ArrayLike | None,
    repetitions: int,
    seed: int,
) -> _Design:
    """Check the arguments."""
    arrays = [_sample(number, given) for number, given in enumerate(samples)]
    if not arrays:
        raise ValueError("samples must be at least one, got none")
    if paired and len(lengths := {len(array) for array in arrays}) > 1:
        raise ValueError(f"paired samples must have the same number of rows, got {sorted(lengths)}")
    if len(arrays) > 1 and not paired and not (groups is None and strata is None):
        raise ValueError("groups and strata must go with one sample or paired ones; make each sample a stratum of one")
    if repetitions < 1:
        raise ValueError(f"repetitions must be at least 1, got {repetitions}; 1000 give two digits of an interval")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be from 0 to 2**64 - 1, got {seed}")
    of_group, of_stratum = _labels("groups", groups, len(arrays[0])), _labels("strata", strata, len(arrays[0]))
    if of_group is not None and of_stratum is not None:
        pairs = np.unique(np.stack([of_group, of_stratum]), axis=1)
        if len(np.unique(pairs[0])) < pairs.shape[1]:
            raise ValueError("groups must each lie in one stratum, got one in several; leave out one of the two")
        of_stratum = pairs[1]
    return _Design(arrays, paired, of_group, of_stratum, repetitions, seed)


def _sample(number: int, given: ArrayLike) -> Values:
    array = np.asarray(given, np.float64)
    if not array.ndim or not array.size:
        raise ValueError(f"sample {number} must have at least one row, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"sample {number} must be finite, got {array[~np.isfinite(array)][0]}; leave out what failed")
    return array


def _labels(name: str, given: ArrayLike | None, count: int) -> Rows | None:
    if given is None:
        return None
    labels = np.asarray(given)
    if labels.shape != (count,):
        raise ValueError(f"{name} must be one label for each of {count} rows, got shape {labels.shape}")
    found: Rows = np.unique(labels, return_inverse=True)[1]
    return found


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}; 95 % is 0.95")


def _takes_axis(statistic: Statistic) -> bool:
    try:
        return "axis" in inspect.signature(statistic).parameters
    except (TypeError, ValueError):  # some built-in functions have none
        return False


def _distributions(statistics: Mapping[str, Statistic], design: _Design) -> list[Values]:
    """Statistics of all resamples, each ``(repetitions,)``."""
    found = [np.empty(design.repetitions) for _ in statistics]
    begin = 0
    for chunk in _draws(design):
        drawn = [sample[rows] for sample, rows in zip(design.samples, chunk, strict=True)]
        end = begin + len(drawn[0])
        for values, (name, statistic) in zip(found, statistics.items(), strict=True):
            values[begin:end] = _apply(name, statistic, drawn)
        begin = end
    return found


def _observed(name: str, statistic: Statistic, design: _Design) -> float:
    return float(_apply(name, statistic, [sample[None] for sample in design.samples])[0])


def _apply(name: str, statistic: Statistic, drawn: list[Values]) -> Values:
    """Statistic ``(R,)`` of resamples ``(R, N, ...)``."""
    count = len(drawn[0])
    if _takes_axis(statistic):
        values = np.asarray(statistic(*drawn, axis=1), np.float64)
    else:
        values = np.array([statistic(*rows) for rows in zip(*drawn, strict=True)], np.float64)
    if values.shape != (count,):
        raise ValueError(f"{name} must give one number for each of {count} resamples, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name} must be finite for every resample, got {values[~np.isfinite(values)][0]}; it may need more rows, "
            "or strata that keep what it divides by"
        )
    return values


def _draws(design: _Design) -> Iterator[list[Rows]]:
    """Rows ``(R, N)`` of every sample, for some repetitions at a time."""
    first = design.samples[0]
    cells = max(sample.size for sample in design.samples)
    step = 1 if design.groups is not None else max(1, _CELLS // cells)
    for begin in range(0, design.repetitions, step):
        part = range(begin, min(begin + step, design.repetitions))
        if design.groups is not None:
            chunk = [_members(design.groups, _drawn(int(design.groups.max()) + 1, 0, part, design)[0])[None]]
        elif design.paired or len(design.samples) == 1:
            chunk = [_drawn(len(first), 0, part, design)]
        else:
            chunk = [_drawn(len(sample), number, part, design) for number, sample in enumerate(design.samples)]
        yield chunk * len(design.samples) if len(chunk) < len(design.samples) else chunk


def _drawn(count: int, sample: int, repetitions: range, design: _Design) -> Rows:
    """Numbers ``(R, count)`` that take the places of ``0 .. count - 1``, each from its own stratum."""
    blocks = -(-count // 4)  # Philox gives four words for each value of its counter
    bits = np.random.Philox(key=[design.seed, sample], counter=repetitions.start * blocks)
    words = bits.random_raw(len(repetitions) * blocks * 4).reshape(len(repetitions), -1)[:, :count]
    uniform = (words >> np.uint64(11)) * 2.0**-53  # below 1, and so is its product with a size, rounded, below the size
    if design.strata is None:
        return (uniform * count).astype(np.int64)
    sizes = np.bincount(design.strata)
    order = np.argsort(design.strata, kind="stable")
    own = design.strata
    found: Rows = order[(np.cumsum(sizes) - sizes)[own] + (uniform * sizes[own]).astype(np.int64)]
    return found


def _members(groups: Rows, drawn: Rows) -> Rows:
    """Rows of the drawn groups, group by group."""
    sizes = np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    lengths = sizes[drawn]
    begins = (np.cumsum(sizes) - sizes)[drawn] - (np.cumsum(lengths) - lengths)
    found: Rows = order[np.repeat(begins, lengths) + np.arange(lengths.sum())]
    return found


def _interval(estimate: float, values: Values, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))
