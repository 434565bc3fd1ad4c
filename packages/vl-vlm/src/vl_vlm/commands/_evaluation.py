"""Evaluation of several tasks into a folder, and the table and figure of what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vl_core.charts import draw_intervals
from vl_core.intervals import Interval
from vl_core.tables import text_table, write_rows

from vl_vlm.evaluation.evaluate import evaluate
from vl_vlm.evaluation.results import EvaluationResult, MetricRow
from vl_vlm.evaluation.saved_results import save_result
from vl_vlm.evaluation.tasks.task import Task

_FIRST = (
    *("top-1 accuracy", "image-to-text recall@1", "text-to-image recall@1"),
    *("text score", "image score", "group score"),
)
"""Metrics of the table; results.csv has all."""
_HEAD = ("top-1 accuracy", "text-to-image recall@1", "group score")
"""The metric of each task in the figure."""


def evaluate_tasks(model: Any, tasks: Mapping[str, Task], out: Path, **options: Any) -> dict[str, EvaluationResult]:
    """Evaluate a model on each task, with raw scores and results in a folder of the task's name.

    Args:
        model: What `evaluate` takes.
        tasks: Tasks by name.
        out: Folder of the folders.
        options: Arguments of `evaluate`.
    """
    results = {}
    for name, task in tasks.items():
        folder = out / name.replace(" ", "-")
        results[name] = evaluate(model, task, out=folder, progress=True, **options)
        save_result(results[name], folder)
    return results


def result_table(results: Mapping[str, EvaluationResult]) -> str:
    """Table of the first places, with the baselines beside the model."""
    cells = []
    for name, result in results.items():
        for metric in dict.fromkeys(row.metric for row in result.rows):
            if metric in _FIRST or len(results) == 1:
                row = result.row(metric)
                blind, constant = (_percent(result.row(metric, other).value) for other in ("blind", "constant"))
                interval = f"{_percent(row.low)} to {_percent(row.high)}"
                cells.append([name, metric, _percent(row.value), interval, blind, constant, _percent(row.tie_rate)])
    return text_table(["task", "metric", "model", "interval", "blind", "constant", "ties"], cells, left=2)


def write_results(results: Mapping[str, EvaluationResult], path: Path) -> None:
    """Write all metrics of the model and of both baselines to a CSV file."""
    write_rows(path, [{"task": name, **asdict(row)} for name, one in results.items() for row in one.rows])


def draw_results(panels: Mapping[str, Mapping[str, EvaluationResult]], path: Path, *, title: str) -> None:
    """Draw the main metric of each task, in a panel for each group of tasks, which have the same names."""
    rows = {
        panel: {name: _interval(result.row(main_metric(result))) for name, result in results.items()}
        for panel, results in panels.items()
    }
    draw_intervals(path, rows, title=title, label="accuracy, recall or group score", ticks=(0, 0.25, 0.5, 0.75, 1))


def draw_models(result: EvaluationResult, path: Path, *, title: str) -> None:
    """Draw the metrics of one task, each in a panel with the model and both baselines."""
    metrics = list(dict.fromkeys(row.metric for row in result.rows))[:3]
    models = {next(iter(result.measures)): "model", "blind": "blind", "constant": "constant"}
    rows = {
        metric: {shown: _interval(result.row(metric, name)) for name, shown in models.items()} for metric in metrics
    }
    draw_intervals(path, rows, title=title, ticks=(0, 0.5, 1))


def main_metric(result: EvaluationResult) -> str:
    """The metric that stands for a task in a figure."""
    metrics = [row.metric for row in result.rows]
    return next((metric for metric in _HEAD if metric in metrics), metrics[0])


def _interval(row: MetricRow) -> Interval:
    return Interval(row.value, row.low, row.high)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
