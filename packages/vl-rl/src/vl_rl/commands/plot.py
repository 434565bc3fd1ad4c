"""`vl-rl plot`: learning curves of runs, finished or not."""

from __future__ import annotations

from vl_rl.charts.learning_curves import draw_learning_curves
from vl_rl.commands._tables import curves_table
from vl_rl.commands.settings.plot import Plot
from vl_rl.training.comparison import learning_curves, write_curves
from vl_rl.training.saved_runs import find_runs


def run(settings: Plot) -> None:
    """Write the curves of a metric as CSV and PNG.

    Raises:
        ValueError: If a run has no such metric, or seeds have no step in common.
        OSError: If a folder is missing or holds no run.
    """
    settings.check()
    runs = find_runs(settings.runs, finished=False)
    curves = learning_curves(runs, settings.metric, repetitions=settings.repetitions)
    settings.out.mkdir(parents=True, exist_ok=True)
    write_curves(settings.out / "curves.csv", curves, settings.metric)
    environments = dict.fromkeys(run.settings.env for run in runs)
    title = ", ".join(environments) if settings.title is None else settings.title
    draw_learning_curves(settings.out / "curves.png", curves, title=title, metric=settings.metric)
    print(curves_table(curves))
    print(f"wrote curves.csv and curves.png to {settings.out}")
