"""`vl-vlm compare`: two models on the same items."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from vl_core.charts import draw_intervals
from vl_core.cli import note_on_interruption
from vl_core.devices import find_device
from vl_core.intervals import Interval
from vl_core.tables import text_table, write_rows

from vl_vlm.commands._evaluation import evaluate_groups, main_metric
from vl_vlm.commands._models import open_model
from vl_vlm.commands.settings.compare import Compare
from vl_vlm.evaluation.results import Comparison, EvaluationResult, compare
from vl_vlm.evaluation.saved_results import load_result
from vl_vlm.evaluation.tasks.scenes import scene_tasks
from vl_vlm.models.folders import BUILT_IN
from vl_vlm.scenes.vocabulary import SPLITS


def run(settings: Compare) -> None:
    """Compare what both folders hold, and write the table and the figure.

    Raises:
        ValueError: If the folders share no task, or a task's items differ.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    first, second = settings.folders or _evaluated(settings.out, find_device(settings.device))
    options = {"samples": settings.samples, "seed": settings.seed}
    # One draw: the intervals of either alone are not shown.
    results = [
        {name: load_result(path, samples=1) for name, path in _tasks(folder).items()} for folder in (first, second)
    ]
    shared = [name for name in results[0] if name in results[1]]
    if not shared:
        raise ValueError(
            f"FOLDERS must share a task, got {', '.join(results[0])} and {', '.join(results[1])}; evaluate both on one"
        )
    found = {}
    for name in shared:
        try:
            found[name] = compare(results[0][name], results[1][name], **options)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    settings.out.mkdir(parents=True, exist_ok=True)
    rows = [{"task": name, **asdict(row)} for name, comparisons in found.items() for row in comparisons]
    write_rows(settings.out / "comparison.csv", rows)
    main = {name: _main(results[0][name], comparisons) for name, comparisons in found.items()}
    names = [_model(own) for own in results]
    draw_intervals(
        settings.out / "comparison.png",
        _panels(main),
        title=f"{names[0]} minus {names[1]}",
        label="accuracy, recall or group score",
        reference=0.0,
    )
    print(f"first: {names[0]}; second: {names[1]}")
    print(_table(main))
    print("intervals of 95 % and p-values of each row by itself, not corrected for the number of rows")
    print(f"wrote comparison.csv and comparison.png to {settings.out}")


def _evaluated(out: Path, device: str) -> list[Path]:
    """Folders of both built-in models, evaluated on a few scenes."""
    folders = []
    with note_on_interruption("rerun to resume"):
        for name in BUILT_IN:
            model = open_model(name, device)
            tasks = {str(split): scene_tasks(100, size=model.image_size, split=split) for split in SPLITS[1:]}
            evaluate_groups(model.scorer, tasks, out / name, name=model.name, samples=1)
            folders.append(out / name)
    return folders


def _tasks(folder: Path) -> dict[str, Path]:
    """Folders of results by task."""
    return {path.parent.name: path.parent for path in sorted(folder.expanduser().glob("*/result.json"))}


def _model(results: dict[str, EvaluationResult]) -> str:
    return next(iter(next(iter(results.values())).measures))


def _main(result: EvaluationResult, comparisons: list[Comparison]) -> Comparison:
    """The comparison by the task's main metric."""
    metric = main_metric(result)
    return next((row for row in comparisons if row.metric == metric), comparisons[0])


def _panels(rows: dict[str, Comparison]) -> dict[str, dict[str, Interval]]:
    """Differences by split of the scenes, if every task is there in each; else all in one panel."""
    found = {name: Interval(row.difference, row.low, row.high) for name, row in rows.items()}
    panels: dict[str, dict[str, Interval]] = {
        split: {name.removeprefix(f"{split}-"): own for name, own in found.items() if name.startswith(f"{split}-")}
        for split in SPLITS
    }
    panels = {split: own for split, own in panels.items() if own}
    whole = sum(map(len, panels.values())) == len(found)
    return panels if whole and len({tuple(own) for own in panels.values()}) == 1 else {"difference": found}


def _table(rows: dict[str, Comparison]) -> str:
    cells = [
        [
            name,
            row.metric,
            f"{100 * row.difference:+.1f}",
            f"{100 * row.low:+.1f} to {100 * row.high:+.1f}",
            str(row.wins),
            str(row.losses),
            f"{row.p_bootstrap:.3f}",
            f"{row.p_sign:.3f}",
        ]
        for name, row in rows.items()
    ]
    head = ["task", "metric", "points", "interval", "better", "worse", "p, bootstrap", "p, sign test"]
    return text_table(head, cells, left=2)
