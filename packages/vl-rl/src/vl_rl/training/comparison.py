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
    """Environment steps, of any seed, within the range of all seeds."""
    middle: list[float]
    """Interquartile mean over seeds."""
    low: list[float]
    """Lower end of the interval."""
    high: list[float]
    """Upper end of the interval."""
    seeds: dict[int, list[float]]
    """Values by seed, interpolated at the steps of others."""


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
    """Curves of a metric by method; see `curve_of`.

    Raises:
        ValueError: If a run has no such metric, or the seeds of a method have no range of steps in common.
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
    """Curve of a method over the range of steps that all its seeds cover.

    It has the steps of all seeds in that range. A seed without a value at one of them is interpolated linearly.

    Args:
        label: Name of the method.
        points: Values by seed and step.
        repetitions: Repetitions of the bootstrap over seeds.

    Raises:
        ValueError: If the seeds have no range of steps in common.
    """
    first, last = max(map(min, points.values())), min(map(max, points.values()))
    steps = sorted({step for own in points.values() for step in own if first <= step <= last})
    if not steps:
        raise ValueError(
            f"the runs of {label} must have a range of steps in common, but one ends at {last} and another begins at "
            f"{first}; wait for it, or leave one out"
        )
    values = np.array([_values_at(steps, own) for own in points.values()])
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


def _values_at(steps: Sequence[int], own: Mapping[int, float]) -> list[float]:
    """Values of a seed: its own where it has them, else on the line between its neighbors."""
    known = sorted(own)
    between = np.interp(steps, known, [own[step] for step in known]).tolist()
    return [own.get(step, value) for step, value in zip(steps, between, strict=True)]


def _area(steps: Sequence[int], values: Sequence[float]) -> float:
    return area_under_curve(steps, values) if len(steps) > 1 else values[0]
