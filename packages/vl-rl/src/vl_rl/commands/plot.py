"""`vl-rl plot`: learning curves of runs, finished or not."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vl_rl.charts.learning_curves import draw_learning_curves
from vl_rl.commands._tables import curves_table
from vl_rl.commands.settings.plot import Plot
from vl_rl.training.comparison import Curve, learning_curves, write_curves
from vl_rl.training.saved_runs import NoMetricError, SavedRun, by_method, find_runs


def run(settings: Plot) -> None:
    """Write the curves of a metric as CSV and PNG.

    Raises:
        ValueError: If a run has no such metric, or seeds have no range of steps in common.
        OSError: If a folder is missing or holds no run.
    """
    settings.check()
    runs = _with_metric(find_runs(settings.runs, finished=False), settings.metric)
    curves = learning_curves(runs, settings.metric, repetitions=settings.repetitions)
    _say_where_training_is(curves, runs, settings.metric)
    settings.out.mkdir(parents=True, exist_ok=True)
    write_curves(settings.out / "curves.csv", curves, settings.metric)
    environments = dict.fromkeys(run.settings.env for run in runs)
    title = ", ".join(environments) if settings.title is None else settings.title
    draw_learning_curves(settings.out / "curves.png", curves, title=title, metric=settings.metric)
    print(curves_table(curves))
    print(f"wrote curves.csv and curves.png to {settings.out}")


def _with_metric(runs: Sequence[SavedRun], metric: str) -> list[SavedRun]:
    """Runs with a metric; one in training that has not logged it yet is left out, unless no run has it."""
    found: list[SavedRun] = []
    missing: list[tuple[SavedRun, NoMetricError]] = []
    for one in runs:
        try:
            one.curve(metric)
            found.append(one)
        except NoMetricError as error:
            missing.append((one, error))
    for one, reason in sorted(missing, key=lambda pair: not pair[0].is_finished):
        if one.is_finished or not found:
            raise reason
        print(f"{one.folder} has no {metric} yet and is left out", file=sys.stderr)
    return found


def _say_where_training_is(curves: Sequence[Curve], runs: Sequence[SavedRun], metric: str) -> None:
    """Say which curves end before what some of their seeds have, since others are in training."""
    for curve, group in zip(curves, by_method(runs).values(), strict=True):
        ends = [one.curve(metric)[0][-1] for one in group]
        newest = group[ends.index(min(ends))]
        if not newest.is_finished and curve.steps[-1] < max(ends):
            print(
                f"{curve.label} is drawn up to step {curve.steps[-1]:,}: seed {newest.settings.seed} is in training",
                file=sys.stderr,
            )
