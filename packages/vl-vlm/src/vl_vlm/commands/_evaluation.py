"""Evaluation of several tasks into a folder, and the table and figure of what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vl_core.charts import draw_intervals
from vl_core.intervals import Interval
from vl_core.tables import percent, text_table, write_rows

from vl_vlm.evaluation.evaluate import evaluate
from vl_vlm.evaluation.results import EvaluationResult, MetricRow
from vl_vlm.evaluation.saved_results import save_result
from vl_vlm.evaluation.tasks.task import Task

_MAIN = ("top-1 accuracy", "text-to-image recall@1", "group score")
"""The metric of each task in tables and figures of several tasks; results.csv has all."""


def evaluate_groups(
    model: Any, groups: Mapping[str, Mapping[str, Task]], out: Path, **options: Any
) -> dict[str, dict[str, EvaluationResult]]:
    """Evaluate a model on each task, with raw scores and results in a folder of the task's name.

    Args:
        model: What `evaluate` takes.
        groups: Tasks by group and name; with several groups a folder is named after both.
        out: Folder of the folders.
        options: Arguments of `evaluate`.
    """
    found: dict[str, dict[str, EvaluationResult]] = {}
    for group, tasks in groups.items():
        found[group] = {}
        for name, task in tasks.items():
            folder = out / full_name(group, name, groups).replace(" ", "-")
            found[group][name] = evaluate(model, task, out=folder, progress=True, **options)
            save_result(found[group][name], folder)
    return found


def full_name(group: str, name: str, groups: Mapping[str, Any]) -> str:
    """Name of a task among all groups."""
    return f"{group} {name}" if len(groups) > 1 else name


def result_table(groups: Mapping[str, Mapping[str, EvaluationResult]]) -> str:
    """Table of the main metric of each task, with a column for each group of tasks and the baselines of the first.

    A single task has a row for each of its metrics instead.
    """
    first = next(iter(groups.values()))
    chosen = [(name, metric) for name, result in first.items() for metric in _shown(result, len(first) == 1)]
    cells = []
    for name, metric in chosen:
        rows = [results[name].row(metric) for results in groups.values()]
        baselines = [first[name].row(metric, other).value for other in ("blind", "constant")]
        shares = [*baselines, max(row.tie_rate for row in rows)]
        cells.append([name, metric, *map(_with_interval, rows), *(f"{percent(share)} %" for share in shares)])
    heads = list(groups) if len(groups) > 1 else ["model"]
    return text_table(["task", "metric", *heads, "blind", "constant", "ties"], cells, left=2)


def write_results(groups: Mapping[str, Mapping[str, EvaluationResult]], path: Path) -> None:
    """Write all metrics of the model and of both baselines to a CSV file."""
    rows = [
        {"task": full_name(group, name, groups), **asdict(row)}
        for group, results in groups.items()
        for name, result in results.items()
        for row in result.rows
    ]
    write_rows(path, rows)


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
    return next((metric for metric in _MAIN if metric in metrics), metrics[0])


def _shown(result: EvaluationResult, whole: bool) -> list[str]:
    return list(dict.fromkeys(row.metric for row in result.rows)) if whole else [main_metric(result)]


def _with_interval(row: MetricRow) -> str:
    return f"{percent(row.value)} % ({percent(row.low)} to {percent(row.high)})"


def _interval(row: MetricRow) -> Interval:
    return Interval(row.value, row.low, row.high)
