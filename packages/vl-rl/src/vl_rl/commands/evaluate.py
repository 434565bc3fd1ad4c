"""`vl-rl evaluate`: scores of finished runs, with statistics over seeds."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from vl_core.devices import find_device
from vl_core.progress import progress_bar
from vl_core.tables import text_table, write_rows

from vl_rl.charts.intervals import draw_intervals
from vl_rl.commands._tables import interval_text
from vl_rl.commands.settings.evaluate import Evaluate
from vl_rl.common.statistics import (
    Interval,
    Statistic,
    interquartile_mean,
    paired_bootstrap,
    probability_of_improvement,
    save_scores,
    stratified_bootstrap,
)
from vl_rl.training.building import make_evaluation_environments
from vl_rl.training.evaluation import evaluate
from vl_rl.training.saved_runs import SavedRun, by_method, find_runs

_STATISTICS: dict[str, Statistic] = {"interquartile mean": interquartile_mean, "mean": np.mean, "median": np.median}
_PROBABILITY = "probability of improvement"
_PAIRED = "paired difference"


def run(settings: Evaluate) -> None:
    """Play every run, and write scores and statistics.

    Raises:
        ValueError: If methods have other environments or seeds than one another, or the baseline is none of them.
        OSError: If a folder is missing or holds no finished run.
    """
    settings.check()
    device = find_device(settings.device)
    runs = find_runs(settings.runs)
    methods = by_method(runs)
    baseline = list(methods)[-1] if settings.baseline is None else settings.baseline
    if baseline not in methods:
        raise ValueError(f"--baseline must be one of {'; '.join(methods)}, got {baseline!r}")
    played: dict[tuple[str, int, str], float] = {}
    with progress_bar(runs, unit="runs", desc="playing") as bar:
        for one in bar:
            for column, score in _play(one, settings, device).items():
                played[one.settings.label, one.settings.seed, column] = score
    scores = {name: _matrix(name, group, played) for name, group in methods.items()}
    intervals = _intervals(scores, baseline, settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    rows = [{"method": m, "seed": seed, "task": task, "score": score} for (m, seed, task), score in played.items()]
    write_rows(settings.out / "scores.csv", rows)
    save_scores(settings.out / "scores.npz", scores)
    write_rows(
        settings.out / "statistics.csv",
        [
            {"statistic": name, "method": method, "estimate": one.estimate, "low": one.low, "high": one.high}
            for name, found in intervals.items()
            for method, one in found.items()
        ],
    )
    title = ", ".join(dict.fromkeys(one.settings.env for one in runs))
    shown = {name: found for name, found in intervals.items() if name not in (_PROBABILITY, _PAIRED)}
    draw_intervals(settings.out / "statistics.png", shown, title=title)
    _print(intervals, scores, baseline, settings.level)
    print(f"wrote scores.csv, scores.npz, statistics.csv and statistics.png to {settings.out}")


def _play(run: SavedRun, settings: Evaluate, device: str) -> dict[str, float]:
    """Scores of a run by column: the environment, or each evaluation task of one with a family of tasks."""
    model, env = run.load(make_evaluation_environments(run.settings), device=device)
    name = run.settings.env
    try:
        returns = evaluate(model, env, settings.episodes, seed=settings.seed)
        if env.has_attr("task_family"):
            return {f"{name}, task {number:03}": value for number, value in enumerate(returns)}
    finally:
        env.close()
    return {name: float(np.mean(returns))}


def _matrix(name: str, group: list[SavedRun], played: dict[tuple[str, int, str], float]) -> NDArray[np.float64]:
    """Scores of a method, (seeds, tasks)."""
    seeds = sorted({run.settings.seed for run in group})
    tasks = sorted({task for label, _, task in played if label == name})
    missing = [(seed, task) for seed in seeds for task in tasks if (name, seed, task) not in played]
    if missing:
        seed, task = missing[0]
        raise ValueError(f"RUNS must have every seed of {name} for each environment, got none of seed {seed} on {task}")
    return np.array([[played[name, seed, task] for task in tasks] for seed in seeds])


def _intervals(
    scores: dict[str, NDArray[np.float64]], baseline: str, settings: Evaluate
) -> dict[str, dict[str, Interval]]:
    """Intervals by statistic and method."""
    options = {"repetitions": settings.repetitions, "level": settings.level, "seed": settings.seed}
    found = {
        name: {method: stratified_bootstrap(own, statistic, **options) for method, own in scores.items()}  # type: ignore[arg-type]
        for name, statistic in _STATISTICS.items()
    }
    others = {method: own for method, own in scores.items() if method != baseline}
    theirs = scores[baseline]
    if comparable := {method: own for method, own in others.items() if own.shape[1] == theirs.shape[1]}:
        found[_PROBABILITY] = {
            method: probability_of_improvement(own, theirs, **options)  # type: ignore[arg-type]
            for method, own in comparable.items()
        }
    if paired := {method: own for method, own in comparable.items() if own.shape == theirs.shape}:
        found[_PAIRED] = {method: paired_bootstrap(own, theirs, **options) for method, own in paired.items()}  # type: ignore[arg-type]
    for method in others.keys() - comparable.keys():
        print(f"{method} and {baseline} have different tasks and are not compared", file=sys.stderr)
    return found


def _print(
    intervals: dict[str, dict[str, Interval]], scores: dict[str, NDArray[np.float64]], baseline: str, level: float
) -> None:
    head = ["method", "runs", "tasks", *_STATISTICS]
    rows = [
        [method, *map(str, own.shape), *(interval_text(intervals[name][method]) for name in _STATISTICS)]
        for method, own in scores.items()
    ]
    print(text_table(head, rows))
    print(f"with {100 * level:g} % intervals of a bootstrap over runs")
    for method, found in intervals.get(_PROBABILITY, {}).items():
        line = f"{method} over {baseline}: better with probability {interval_text(found)}"
        if method in intervals.get(_PAIRED, {}):
            line += f"; by {interval_text(intervals[_PAIRED][method])}, seed by seed"
        print(line)
