"""Results: for each metric and model the value, its interval, the official number and the tie rate, always together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vl_core.tables import percent, text_table, write_rows

from vl_vlm.evaluation.intervals import bootstrap_interval, paired_bootstrap, sign_test
from vl_vlm.evaluation.tasks.task import Measure


@dataclass(frozen=True)
class MetricRow:
    """One metric of one model; shares of items."""

    metric: str
    """Name of the metric."""
    model: str
    """Name of the model; ``blind`` and ``constant`` are the baselines."""
    value: float
    """Expectation over random orders of ties, exact."""
    low: float
    """Lower end of its bootstrap interval."""
    high: float
    """Upper end."""
    official: float
    """By strict comparison: a tie counts as a miss."""
    tie_rate: float
    """Items in which a wrong candidate ties with a right one."""
    items: int
    """Number of items."""


@dataclass(frozen=True)
class EvaluationResult:
    """Rows of a task for the model, the blind and the constant baseline; printed as a table."""

    task: str
    """Name of the format."""
    digest: str
    """Hash of items, texts and what is right."""
    rows: tuple[MetricRow, ...]
    """By metric, and by model within a metric."""
    measures: Mapping[str, tuple[Measure, ...]]
    """Item by item, for each model."""
    notes: tuple[str, ...] = ()
    """Sentences for the reader, such as about files that were damaged."""

    def row(self, metric: str, model: str | None = None) -> MetricRow:
        """Row of a metric; of the evaluated model by default.

        Raises:
            KeyError: If there is no such row.
        """
        name = next(iter(self.measures)) if model is None else model
        for row in self.rows:
            if (row.metric, row.model) == (metric, name):
                return row
        raise KeyError(f"no row {metric!r} of {name!r}; there are {sorted({row.metric for row in self.rows})}")

    def save_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows to a CSV file."""
        write_rows(Path(path), self.rows)

    def __str__(self) -> str:
        """Table of percentages, and notes below."""
        head = ["metric", "model", "value", "interval", "official", "ties", "items"]
        cells = [
            [
                row.metric,
                row.model,
                f"{percent(row.value)} %",
                f"{percent(row.low)} % to {percent(row.high)} %",
                f"{percent(row.official)} %",
                f"{percent(row.tie_rate)} %",
                str(row.items),
            ]
            for row in self.rows
        ]
        return "\n".join([text_table(head, cells, left=2), *self.notes])


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items, first minus second."""

    metric: str
    """Name of the metric."""
    difference: float
    """Of the values over random orders of ties."""
    low: float
    """Lower end of its paired bootstrap interval."""
    high: float
    """Upper end."""
    p_bootstrap: float
    """Two-sided, from the paired bootstrap; knows that captions of one image belong together."""
    wins: int
    """Items where the first model is better."""
    losses: int
    """Items where the second is."""
    p_sign: float
    """Two-sided, from the exact sign test (McNemar's where there are no ties)."""


def make_result(
    task: str,
    digest: str,
    measures: Mapping[str, tuple[Measure, ...]],
    *,
    samples: int,
    level: float,
    seed: int,
    notes: tuple[str, ...],
) -> EvaluationResult:
    """Summarize measures into rows."""
    rows = []
    for place, _ in enumerate(next(iter(measures.values()))):
        for model, found in measures.items():
            measure = found[place]
            low, high = bootstrap_interval(
                measure.expected, groups=measure.groups, samples=samples, level=level, seed=seed
            )
            rows.append(
                MetricRow(
                    metric=measure.name,
                    model=model,
                    value=float(measure.expected.mean()),
                    low=low,
                    high=high,
                    official=float(measure.official.mean()),
                    tie_rate=float(measure.tied.mean()),
                    items=len(measure.ids),
                )
            )
    return EvaluationResult(task, digest, tuple(rows), measures, notes)


def compare(
    first: EvaluationResult, second: EvaluationResult, *, samples: int = 1000, level: float = 0.95, seed: int = 0
) -> list[Comparison]:
    """Compare the evaluated models of two results on the same items of the same task.

    Args:
        first: Result of `evaluate` or `rescore`.
        second: Another of the same task.
        samples: Draws of the paired bootstrap.
        level: Of its intervals.
        seed: Of the draws.

    Returns:
        One comparison for each metric that both have.

    Raises:
        ValueError: If items, texts or what is right differ, or no metric is shared.

    Example:
        See ``docs/evaluation.md``.
    """
    if first.digest != second.digest:
        raise ValueError(
            f"second must be of the same items as first, got other ones ({second.task}, {first.task}); evaluate both "
            "models on one task"
        )
    ours, theirs = ({m.name: m for m in next(iter(result.measures.values()))} for result in (first, second))
    if not (shared := [name for name in ours if name in theirs]):
        raise ValueError(f"second must share a metric with first, got {list(theirs)} and {list(ours)}; use the same ks")
    found = []
    for name in shared:
        differences, groups = ours[name].expected - theirs[name].expected, ours[name].groups
        low, high, p = paired_bootstrap(differences, groups=groups, samples=samples, level=level, seed=seed)
        found.append(Comparison(name, float(differences.mean()), low, high, p, *sign_test(differences)))
    return found
