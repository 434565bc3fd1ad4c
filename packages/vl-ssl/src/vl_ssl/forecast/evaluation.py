"""Forecasts of runs that were held out, beside forecasts from one metric alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from vl_core.intervals import Interval, bootstrap_all

from vl_ssl.forecast.accuracy import LEAST, AccuracyForecast, Forecast, fold_numbers
from vl_ssl.forecast.runs import column

FORECASTS: Mapping[str, tuple[str, ...]] = {
    "AUC and loss": ("auc", "loss"),
    "loss alone": ("loss",),
    "RankMe alone": ("rankme",),
    "AUC alone": ("auc",),
}
"""Metrics of the forecast and of its baselines, by name."""


@dataclass(frozen=True)
class HeldOut:
    """Predictions of runs by fits to others, and how good they are."""

    features: tuple[str, ...]
    """Metrics of the forecast."""
    measured: NDArray[np.float64]
    """Measured accuracies ``(n,)``."""
    forecast: Forecast
    """Predictions ``(n,)``, each by a fit to all runs of other groups."""
    groups: NDArray[np.int64]
    """Number of the group of each run ``(n,)``."""
    spearman: Interval
    """Rank correlation of predictions and measurements, with a bootstrap interval of 95 % that draws groups."""
    error: Interval
    """Mean absolute error, as a share, with such an interval."""
    coverage: float
    """Share of the runs whose measured accuracy lies in its prediction interval."""


def spearman(first: ArrayLike, second: ArrayLike, *, axis: int = -1) -> Any:
    """Rank correlation, from -1 to 1: Pearson's of the ranks, where equal values share the mean of theirs.

    Args:
        first: ``(..., n)``, finite, n of at least 1.
        second: The same shape.
        axis: Axis of the runs.

    Returns:
        A number for each row, without the axis; 0 where either is constant, since nothing is ranked then.

    Raises:
        ValueError: If shapes differ, there is nothing, or a value is not finite.

    Example:
        >>> float(spearman([1, 2, 3, 4], [10, 30, 20, 40]))
        0.8
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape or not one.size:
        raise ValueError(f"first and second must have one shape and not be empty, got {one.shape} and {other.shape}")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ValueError("first and second must be finite, got NaN or infinity; leave out what failed")
    ranks = [np.asarray(rankdata(values, axis=axis), np.float64) for values in (one, other)]
    x, y = (rank - rank.mean(axis=axis, keepdims=True) for rank in ranks)
    spread = np.sqrt((x * x).sum(axis=axis) * (y * y).sum(axis=axis))
    return (x * y).sum(axis=axis) / np.where(spread > 0, spread, 1.0)


def held_out(
    runs: Sequence[Mapping[str, Any]],
    features: Sequence[str] = ("auc", "loss"),
    *,
    groups: Sequence[Hashable] | None,
    accuracy: str = "knn",
    degree: Literal[1, 2] = 1,
    ridge: float = 1e-3,
    level: float = 0.9,
    repetitions: int = 1000,
    seed: int = 0,
) -> HeldOut:
    """Predict each group of runs from all the others.

    Args:
        runs: Values by column.
        features: Metrics.
        groups: A label for each run, such as its configuration (`configurations`), so that two seeds of one never sit
            on both sides. None holds each run out by itself.
        accuracy: Column of the measured accuracy.
        degree: As of `AccuracyForecast`.
        ridge: As of `AccuracyForecast`.
        level: As of `AccuracyForecast`.
        repetitions: Draws of the bootstrap.
        seed: Of the draws.

    Raises:
        ValueError: As `AccuracyForecast`; there must be at least three groups, and three runs beside each, to fit to.

    Example:
        >>> runs = [{"auc": 0.6 + 0.02 * i, "loss": -0.9, "knn": 0.8 - 0.03 * i} for i in range(12)]
        >>> held_out(runs, groups=None).spearman.estimate
        1.0
    """
    measured = column(runs, accuracy)
    for name in features:
        column(runs, name)  # in a fold, a message would count its own runs
    numbers = fold_numbers(len(runs), groups)
    count = int(numbers.max()) + 1
    if count < 3:
        raise ValueError(
            f"groups must be at least three, got {count}; one is held out, and residuals leave out another"
        )
    beside = len(runs) - int(np.bincount(numbers).max())
    if beside < LEAST:
        raise ValueError(
            f"runs must be at least {LEAST} beside each group, got {beside} beside the largest of {count} groups; add "
            "runs of other settings or seeds"
        )
    parts = np.empty((3, len(runs)))
    for group in range(count):
        others, own = np.flatnonzero(numbers != group).tolist(), np.flatnonzero(numbers == group).tolist()
        forecast = AccuracyForecast(features, degree=degree, ridge=ridge, level=level)
        forecast.fit([runs[i] for i in others], accuracy=accuracy, groups=numbers[others].tolist())
        parts[:, own] = np.stack(forecast.predict([runs[i] for i in own]))
    found = Forecast(*parts)
    intervals = bootstrap_all(
        {"spearman": spearman, "error": _mean_error},
        found.accuracy,
        measured,
        paired=True,
        groups=numbers,
        repetitions=repetitions,
        seed=seed,
    )
    inside = (found.low <= measured) & (measured <= found.high)
    return HeldOut(
        tuple(features), measured, found, numbers, intervals["spearman"], intervals["error"], float(inside.mean())
    )


def leave_one_out(
    runs: Sequence[Mapping[str, Any]], features: Sequence[str] = ("auc", "loss"), **options: Any
) -> HeldOut:
    """Predict each run from all the others: `held_out` without groups, which takes the same options.

    Runs of one configuration and other seeds stay on the fitted side, so this tells how well a repetition is
    predicted. A forecast that knows nothing gets a correlation of about -1 here, since leaving a good run out lowers
    the mean of the others.
    """
    return held_out(runs, features, groups=None, **options)


def compare_forecasts(
    runs: Sequence[Mapping[str, Any]],
    forecasts: Mapping[str, Sequence[str]] = FORECASTS,
    *,
    groups: Sequence[Hashable] | None,
    **options: Any,
) -> dict[str, HeldOut]:
    """`held_out` for several sets of metrics on the same runs, with the same draws: a forecast and its baselines.

    Args:
        runs: Values by column.
        forecasts: Metrics by name.
        groups: As of `held_out`.
        options: Others of `held_out`.

    Raises:
        ValueError: As `held_out`.
    """
    return {name: held_out(runs, features, groups=groups, **options) for name, features in forecasts.items()}


def _mean_error(first: Any, second: Any, axis: int = -1) -> Any:
    return np.abs(np.asarray(first) - np.asarray(second)).mean(axis=axis)
