"""Statistics of scores over seeds and tasks: interquartile means and bootstrap intervals.

After Agarwal et al., *Deep Reinforcement Learning at the Edge of the Statistical Precipice*, NeurIPS 2021. Scores are
matrices with a row per run and a column per task. `save_scores` writes what the library rliable reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vl_core.intervals import Interval as Interval
from vl_core.intervals import bootstrap
from vl_core.runs import atomic_write

Statistic: TypeAlias = Callable[..., Any]
"""A function of an array and ``axis``, such as `interquartile_mean` or `numpy.median`."""


def interquartile_mean(scores: ArrayLike, axis: int | None = None) -> Any:
    """Mean of the middle half: the lowest and highest quarter, rounded down, are left out.

    Less sensitive to single runs than the mean, and less noisy than the median.

    Args:
        scores: Any shape; at least one value.
        axis: Axis to average over; by default, all values.

    Returns:
        A float, or an array without `axis`.

    Raises:
        ValueError: If there is no value.

    Example:
        >>> interquartile_mean([1.0, 2.0, 4.0, 100.0])
        3.0
    """
    values = np.asarray(scores, dtype=np.float64)
    values = values.reshape(-1) if axis is None else np.moveaxis(values, axis, -1)
    if not values.shape[-1]:
        raise ValueError("scores must hold at least one value, got none")
    cut = values.shape[-1] // 4
    middle = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return float(middle) if middle.ndim == 0 else middle


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Statistic = interquartile_mean,
    *,
    repetitions: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Statistic of all scores, with a percentile interval over runs.

    Each repetition draws as many runs as there are, with replacement, for each task anew, so tasks keep their weight.

    Args:
        scores: ``(runs, tasks)``, or ``(runs,)`` for one task.
        statistic: Function of an array and ``axis``.
        repetitions: Number of repetitions.
        level: Probability that the interval covers, between 0 and 1.
        seed: Seed of the draws.

    Raises:
        ValueError: If the scores are not such a matrix of finite numbers, or a number is out of range.

    Example:
        >>> stratified_bootstrap([[1.0, 5.0], [1.0, 5.0]])
        Interval(estimate=3.0, low=3.0, high=3.0)
    """
    matrix = _matrix("scores", scores)
    tasks = np.tile(np.arange(matrix.shape[1]), len(matrix))
    return bootstrap(statistic, matrix.reshape(-1), strata=tasks, repetitions=repetitions, level=level, seed=seed)


def paired_bootstrap(
    scores: ArrayLike,
    baseline: ArrayLike,
    statistic: Statistic = interquartile_mean,
    *,
    repetitions: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean over runs of the difference of a statistic of their tasks, with a percentile interval over runs.

    For runs with equal seeds: row i of both has the seed, and so the weights and tasks, in common.

    Args:
        scores: ``(runs, tasks)`` or ``(runs,)``.
        baseline: Same shape.
        statistic: Function of an array and ``axis``, applied to the tasks of each run.
        repetitions: Number of repetitions.
        level: Probability that the interval covers.
        seed: Seed of the draws.

    Raises:
        ValueError: If the shapes differ, or as in `stratified_bootstrap`.

    Example:
        >>> paired_bootstrap([3.0, 5.0], [1.0, 3.0])
        Interval(estimate=2.0, low=2.0, high=2.0)
    """
    ours, theirs = _matrix("scores", scores), _matrix("baseline", baseline)
    if ours.shape != theirs.shape:
        raise ValueError(f"baseline must have the shape of scores, {ours.shape}, got {theirs.shape}")
    differences = np.asarray(statistic(ours, axis=-1)) - np.asarray(statistic(theirs, axis=-1))
    return stratified_bootstrap(differences, np.mean, repetitions=repetitions, level=level, seed=seed)


def probability_of_improvement(
    scores: ArrayLike, baseline: ArrayLike, *, repetitions: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Probability that a run is better than a run of the baseline on the same task, ties counted half; mean over tasks.

    Args:
        scores: ``(runs, tasks)`` or ``(runs,)``.
        baseline: The same tasks; the number of runs may differ.
        repetitions: Number of repetitions of the stratified bootstrap of both.
        level: Probability that the interval covers.
        seed: Seed of the draws.

    Raises:
        ValueError: If the numbers of tasks differ, or as in `stratified_bootstrap`.

    Example:
        >>> probability_of_improvement([2.0, 3.0], [1.0, 2.0]).estimate
        0.875
    """
    ours, theirs = _matrix("scores", scores), _matrix("baseline", baseline)
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(f"baseline must have the tasks of scores, {ours.shape[1]}, got {theirs.shape[1]}")
    # One sample whose strata are the tasks of either: a stratum keeps its places, so the matrices are found again.
    tasks = np.arange(ours.shape[1])
    strata = np.concatenate([np.tile(tasks, len(ours)), np.tile(tasks + len(tasks), len(theirs))])

    def better(drawn: NDArray[np.float64]) -> float:
        return _better(drawn[: ours.size].reshape(ours.shape), drawn[ours.size :].reshape(theirs.shape))

    both = np.concatenate([ours.reshape(-1), theirs.reshape(-1)])
    return bootstrap(better, both, strata=strata, repetitions=repetitions, level=level, seed=seed)


def area_under_curve(steps: Sequence[float], values: Sequence[float]) -> float:
    """Mean height of a learning curve: the area under its straight segments, over the range of its steps.

    Args:
        steps: Increasing, at least two.
        values: One a step.

    Raises:
        ValueError: If there are fewer than two points, as many steps as values, or steps do not increase.

    Example:
        >>> area_under_curve([0, 10, 20], [0.0, 1.0, 1.0])
        0.75
    """
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2 or not (np.diff(x) > 0).all():
        raise ValueError(f"steps and values must be two or more points with increasing steps, got {x} and {y}")
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def save_scores(path: str | os.PathLike[str], scores: Mapping[str, ArrayLike]) -> None:
    """Write scores by method as an ``.npz`` file; ``dict(numpy.load(path))`` is the dictionary that rliable takes.

    Args:
        path: File to write or replace.
        scores: ``(runs, tasks)`` by method.

    Raises:
        ValueError: If a value is not such a matrix.
    """
    arrays = {name: _matrix(f"scores of {name}", value) for name, value in scores.items()}
    with atomic_write(path, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's own arguments have other names


def _matrix(name: str, scores: ArrayLike) -> NDArray[np.float64]:
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{name} must be of shape (runs, tasks) with at least one of each, got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite, got {matrix[~np.isfinite(matrix)][0]}")
    return matrix


def _better(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    return float(((np.sign(ours[:, None] - theirs[None]) + 1) / 2).mean())
