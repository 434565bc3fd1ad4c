"""Runs of several methods and seeds, and the tables made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vl_core.tables import write_rows

from vl_rl.common.statistics import Interval, area_under_curve, stratified_bootstrap
from vl_rl.training.run import Progress, train_run
from vl_rl.training.saved_runs import SavedRun, by_method
from vl_rl.training.settings import RunSettings


@dataclass(frozen=True)
class Curve:
    """Learning curve of a method: interquartile mean over its seeds with a bootstrap interval, and each seed."""

    label: str
    """Name of the method."""
    steps: list[int]
    """Environment steps that all seeds were evaluated at."""
    middle: list[float]
    """Interquartile mean over seeds."""
    low: list[float]
    """Lower end of the interval."""
    high: list[float]
    """Upper end of the interval."""
    seeds: dict[int, list[float]]
    """Values by seed."""


@dataclass(frozen=True)
class Summary:
    """Final scores of a method."""

    label: str
    """Name of the method."""
    runs: int
    """Number of seeds."""
    final: Interval
    """Interquartile mean of the last evaluation, over seeds."""
    area: float
    """Mean height of the learning curve, averaged over seeds."""


def train_runs(
    runs: Sequence[RunSettings], out: Path, *, begin: Callable[[RunSettings], object], progress: Progress
) -> list[SavedRun]:
    """Train runs one after another, each in its folder; finished ones are not trained again.

    Args:
        runs: The runs.
        out: Folder of the comparison.
        begin: Called with each run before it begins.
        progress: Told about steps as they are taken.
    """
    for one in runs:
        begin(one)
        train_run(one, out / one.folder, progress=progress)
    return [SavedRun(out / one.folder, one) for one in runs]


def learning_curves(runs: Sequence[SavedRun], metric: str = "eval/return", *, repetitions: int = 2000) -> list[Curve]:
    """Curves of a metric by method, at the steps that all seeds of the method have in common.

    Raises:
        ValueError: If a run has no such metric, or the seeds of a method have no step in common.
    """
    return [
        curve_of(
            label,
            {run.settings.seed: dict(zip(*run.curve(metric), strict=True)) for run in group},
            repetitions=repetitions,
        )
        for label, group in by_method(runs).items()
    ]


def curve_of(label: str, points: Mapping[int, Mapping[int, float]], *, repetitions: int = 2000) -> Curve:
    """Curve of a method at the steps that all its seeds have in common.

    Args:
        label: Name of the method.
        points: Values by seed and step.
        repetitions: Repetitions of the bootstrap over seeds.

    Raises:
        ValueError: If the seeds have no step in common.
    """
    steps = sorted(set.intersection(*(set(own) for own in points.values())))
    if not steps:
        raise ValueError(f"the runs of {label} have no step in common")
    values = np.array([[own[step] for step in steps] for own in points.values()])
    intervals = [stratified_bootstrap(column, repetitions=repetitions) for column in values.T]
    return Curve(
        label,
        steps,
        [one.estimate for one in intervals],
        [one.low for one in intervals],
        [one.high for one in intervals],
        {seed: row.tolist() for seed, row in zip(points, values, strict=True)},
    )


def summarize(curves: Sequence[Curve]) -> list[Summary]:
    """Final scores of each method."""
    return [
        Summary(
            curve.label,
            len(curve.seeds),
            Interval(curve.middle[-1], curve.low[-1], curve.high[-1]),
            float(np.mean([_area(curve.steps, values) for values in curve.seeds.values()])),
        )
        for curve in curves
    ]


def write_curves(path: Path, curves: Sequence[Curve], metric: str) -> None:
    """Write a CSV file with a row per method, seed and step."""
    write_rows(
        path,
        [
            {"method": curve.label, "seed": seed, "step": step, metric: float(value)}
            for curve in curves
            for seed, values in curve.seeds.items()
            for step, value in zip(curve.steps, values, strict=True)
        ],
    )


def _area(steps: Sequence[int], values: Sequence[float]) -> float:
    return area_under_curve(steps, values) if len(steps) > 1 else values[0]
