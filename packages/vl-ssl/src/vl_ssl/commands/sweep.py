"""`vl-ssl sweep`: a grid of small runs, a row each."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from vl_core.cli import note_on_interruption
from vl_core.progress import progress_bar
from vl_core.runs.append_only import AppendOnlyFile
from vl_core.tables import csv_line, percent, text_table

from vl_ssl.commands.settings.sweep import Sweep
from vl_ssl.forecast.runs import read_runs
from vl_ssl.training.configuration import StudyRun
from vl_ssl.training.study import run_study, study_images


def run(settings: Sweep) -> int:
    """Train the runs that `settings.out` has no row of yet, one after the other.

    Returns:
        0, or 1 if a run failed, as with a learning rate at which the loss is not finite; the others have their rows.

    Raises:
        ValueError: If the images cannot be used, or runs.csv has other columns.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    # Images are those of all runs, and what is wrong with them is said once.
    images = study_images(settings.images, settings.image_size, settings.limit)
    tested = len(images.test)
    # An epoch is of all images, and there may be fewer than asked for.
    settings = replace(settings, limit=min(settings.limit, len(images.train)))
    runs = settings.runs()
    settings.out.mkdir(parents=True, exist_ok=True)
    table = settings.out / "runs.csv"
    failed = 0
    with note_on_interruption("rerun to resume"), _quiet_alarms(), AppendOnlyFile(table) as file:
        before = finished_names(settings.out)
        todo = [each for each in runs if each.name not in before]
        for each in progress_bar(todo, desc="sweep", unit="run"):
            try:
                row = run_study(each, settings.out / each.name, checkpoint_every=settings.checkpoint_every)
            except ValueError as error:
                # Divergence of one run is a result of its learning rate, and none of the others'.
                failed += 1
                print(f"{each.name} has no row: {error}", file=sys.stderr)
                continue
            append_run(file, {"run": each.name, **row})
    rows = {row["run"]: row for row in (read_runs(table) if table.stat().st_size else [])}
    print(_table([rows[each.name] for each in runs if each.name in rows], runs, tested))
    print(
        "AUC, RankMe: of features in evaluation mode, AUC near 1 means collapsed; alarm: update of the first; "
        f"knn: of {tested:,} test images, k = 20, temperature 0.07"
    )
    print(f"wrote runs.csv with {len(rows)} runs to {settings.out}; vl-ssl forecast {table}")
    return 1 if failed else 0


@contextmanager
def _quiet_alarms() -> Iterator[None]:
    """Leave warnings of monitors out: the first alarm of a run is in its row."""
    logger = logging.getLogger("vl_ssl.collapse.monitor")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def finished_names(folder: Any) -> set[str]:
    """Names of the runs that have a row."""
    table = folder / "runs.csv"
    return {row["run"] for row in read_runs(table)} if len(AppendOnlyFile(table).lines()) > 1 else set()


def append_run(file: AppendOnlyFile, row: Mapping[str, Any]) -> None:
    """Add a row, and the header before the first.

    Raises:
        ValueError: If the file has other columns.
    """
    header = csv_line(row)
    lines = file.lines()
    if not lines:
        file.write(header)
    elif lines[0].decode() != header.rstrip("\n"):
        raise ValueError(
            f"{file.path} must have the columns {header.rstrip()}, got {lines[0].decode()[:200]}; use another --out"
        )
    cells = ("" if value is None else f"{value:.6g}" if isinstance(value, float) else value for value in row.values())
    file.write(csv_line(cells))


def _table(rows: Sequence[Mapping[str, str]], runs: Sequence[StudyRun], tested: int) -> str:
    """Settings that differ between runs, and results; an alarm by its update, counted from 1."""
    names = ("method", "ablation", "width", "schedule", "share", "batch_size", "base_learning_rate", "seed")
    varied = [name for name in names if len({getattr(each, name) for each in runs}) > 1] or ["method"]
    cells = [
        [
            *(row[name] for name in varied),
            f"{float(row['loss']):.3f}",
            f"{float(row['auc']):.3f}",
            f"{float(row['rankme']):.1f}",
            f"{int(row['alarm_step']) + 1:,}" if row["alarm_step"] else "none",
            f"{percent(float(row['knn']))} %",
        ]
        for row in rows
    ]
    head = [*(name.replace("_", " ") for name in varied), "loss", "AUC", "RankMe", "alarm at", f"knn of {tested:,}"]
    return text_table(head, cells, left=len(varied))
