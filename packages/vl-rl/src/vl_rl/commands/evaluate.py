"""`vl-rl evaluate`: scores of finished runs, with statistics over seeds."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from vl_core.charts import draw_intervals
from vl_core.devices import find_device
from vl_core.progress import progress_bar
from vl_core.tables import text_table, write_rows

from vl_rl.commands._tables import file_name, interval_text
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

_Played: TypeAlias = tuple[str, str, int, str]
"""Method, environment, seed and task of a score; the task is the environment itself if it has no family of them."""


@dataclass(frozen=True)
class _Scores:
    """Scores of a method."""

    seeds: list[int]
    """Seeds of the rows."""
    tasks: list[str]
    """Environments, or tasks of one with a family of tasks."""
    matrix: NDArray[np.float64]
    """Scores, (seeds, tasks)."""


@dataclass(frozen=True)
class _Found:
    """A statistic of a method on an environment."""

    env: str
    """The environment."""
    statistic: str
    """Name of the statistic."""
    method: str
    """Name of the method."""
    interval: Interval
    """Estimate with its interval."""
    runs: int
    """Number of runs that the interval is over; over one, there is none."""

    def row(self) -> dict[str, object]:
        """Row of statistics.csv."""
        low, high = (self.interval.low, self.interval.high) if self.runs > 1 else ("", "")
        own = {"environment": self.env, "statistic": self.statistic, "method": self.method}
        return {**own, "estimate": self.interval.estimate, "low": low, "high": high}

    def text(self) -> str:
        """The estimate, with its interval if there is one."""
        return interval_text(self.interval, self.runs)


def run(settings: Evaluate) -> None:
    """Play every run, and write scores and statistics, for each environment by itself.

    Methods without the same tasks in an environment are not compared there, and a line on standard error says so.

    Raises:
        ValueError: If a method lacks a seed on one of its environments, or the baseline is none of the methods.
        OSError: If a folder is missing or holds no finished run.
    """
    settings.check()
    device = find_device(settings.device)
    runs = find_runs(settings.runs)
    methods = list(dict.fromkeys(one.label for one in runs))
    baseline = methods[-1] if settings.baseline is None else settings.baseline
    if baseline not in methods:
        raise ValueError(f"--baseline must be one of {'; '.join(methods)}, got {baseline!r}")
    played: dict[_Played, float] = {}
    with progress_bar(runs, unit="runs", desc="playing") as bar:
        for one in bar:
            for task, score in _play(one, settings, device).items():
                played[one.label, one.settings.env, one.settings.seed, task] = score
    scores = {name: _scores([one for one in runs if one.label == name], played) for name in methods}
    found: dict[str, tuple[dict[str, _Scores], list[_Found]]] = {}
    for env in dict.fromkeys(one.settings.env for one in runs):
        groups = by_method([one for one in runs if one.settings.env == env])
        own = {name: _scores(group, played) for name, group in groups.items()}
        found[env] = own, _statistics(env, own, baseline, settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    rows = [{"method": m, "seed": seed, "task": task, "score": score} for (m, _, seed, task), score in played.items()]
    write_rows(settings.out / "scores.csv", rows)
    save_scores(settings.out / "scores.npz", {name: one.matrix for name, one in scores.items()})
    write_rows(settings.out / "statistics.csv", [one.row() for _, statistics in found.values() for one in statistics])
    charts = []
    for env, (own, statistics) in found.items():
        charts.append(f"statistics-{file_name(env)}.png" if len(found) > 1 else "statistics.png")
        shown = {
            name: {one.method: one.interval for one in statistics if one.statistic == name} for name in _STATISTICS
        }
        draw_intervals(settings.out / charts[-1], shown, title=env)
        print(*([f"{env}:"] if len(found) > 1 else []), *_lines(own, statistics, baseline), sep="\n")
    if any(one.runs > 1 for _, statistics in found.values() for one in statistics):
        print(f"with {100 * settings.level:g} % intervals of a bootstrap over runs")
    print(f"wrote scores.csv, scores.npz, statistics.csv and {', '.join(charts)} to {settings.out}")


def _play(run: SavedRun, settings: Evaluate, device: str) -> dict[str, float]:
    """Scores of a run by task: the environment, or each evaluation task of one with a family of tasks."""
    model, env = run.load(make_evaluation_environments(run.settings), device=device)
    name = run.settings.env
    try:
        returns = evaluate(model, env, settings.episodes, seed=settings.seed)
        if env.has_attr("task_family"):
            return {f"{name}, task {number:03}": value for number, value in enumerate(returns)}
    finally:
        env.close()
    return {name: float(np.mean(returns))}


def _scores(group: Sequence[SavedRun], played: Mapping[_Played, float]) -> _Scores:
    """Scores of the runs of a method, on their environments."""
    name, environments = group[0].label, {run.settings.env for run in group}
    seeds = sorted({run.settings.seed for run in group})
    tasks = sorted({(env, task) for label, env, _, task in played if label == name and env in environments})
    missing = [(seed, task) for seed in seeds for env, task in tasks if (name, env, seed, task) not in played]
    if missing:
        seed, task = missing[0]
        raise ValueError(f"RUNS must have every seed of {name} for each environment, got none of seed {seed} on {task}")
    matrix = np.array([[played[name, env, seed, task] for env, task in tasks] for seed in seeds])
    return _Scores(seeds, [task for _, task in tasks], matrix)


def _statistics(env: str, scores: Mapping[str, _Scores], baseline: str, settings: Evaluate) -> list[_Found]:
    """Statistics of the methods on an environment, and comparisons with the baseline."""
    options: Any = {"repetitions": settings.repetitions, "level": settings.level, "seed": settings.seed}
    found = [
        _Found(env, name, method, stratified_bootstrap(own.matrix, statistic, **options), len(own.seeds))
        for name, statistic in _STATISTICS.items()
        for method, own in scores.items()
    ]
    theirs = scores.get(baseline)
    for method, own in scores.items():
        both = f"{method} and {baseline}"
        if method == baseline:
            continue
        if theirs is None or own.tasks != theirs.tasks:
            other = "environments" if theirs is None else "tasks"
            print(f"{both} have different {other} and are not compared on {env}", file=sys.stderr)
            continue
        probability = probability_of_improvement(own.matrix, theirs.matrix, **options)
        found.append(_Found(env, _PROBABILITY, method, probability, max(len(own.seeds), len(theirs.seeds))))
        if not (pairs := sorted(set(own.seeds) & set(theirs.seeds))):
            print(f"{both} have no seed in common on {env}, so there is no paired difference", file=sys.stderr)
            continue
        ours, others = (one.matrix[[one.seeds.index(seed) for seed in pairs]] for one in (own, theirs))
        found.append(_Found(env, _PAIRED, method, paired_bootstrap(ours, others, **options), len(pairs)))
    return found


def _lines(scores: Mapping[str, _Scores], found: Sequence[_Found], baseline: str) -> list[str]:
    """Lines to print: a table, and a line for each method that is compared with the baseline."""
    by_name = {(one.statistic, one.method): one for one in found}
    rows = [
        [method, *map(str, own.matrix.shape), *(by_name[name, method].text() for name in _STATISTICS)]
        for method, own in scores.items()
    ]
    lines = [text_table(["method", "runs", "tasks", *_STATISTICS], rows)]
    for method in scores:
        if probability := by_name.get((_PROBABILITY, method)):
            line = f"{method} over {baseline}: better with probability {probability.text()}"
            if paired := by_name.get((_PAIRED, method)):
                line += f"; by {paired.text()}, seed by seed"
            lines.append(line)
    return lines
