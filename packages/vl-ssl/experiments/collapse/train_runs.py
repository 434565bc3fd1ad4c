"""Train the runs of a study, one after the other; rerun to resume.

    VL_DATA=../shared/data python packages/vl-ssl/experiments/collapse/train_runs.py alarm --out runs

`alarm-choice`, `alarm`, `hybrid` and `hybrid-chunks` need no data beside the package; `phenomenon-1000`, `-10000` and
`-50000` take the full Fashion-MNIST from ``$VL_DATA/fashion_mnist`` or Debian's package. A finished run is a row of
`packages/vl-ssl/results/<study>.csv`, and what was read on the way is in `<study>_collapsing.csv` and
`<study>_healthy.csv` for the studies of the alarm, and in `<study>_curves.csv` for others; what is there already is not
trained again. A run whose loss is not finite any more ends with what was read until then. Two processes may share the
work: ``--part 0 2`` and ``--part 1 2`` each write rows of their own study folder, which ``--collect`` puts together.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from configurations import alarm_choice_runs, alarm_runs, hybrid_runs, phenomenon_runs
from vl_core.progress import progress_bar
from vl_core.results import provenance, read_rows
from vl_core.runs import read_metrics
from vl_core.tables import write_rows
from vl_ssl.collapse.monitor import SHRUNK
from vl_ssl.training.configuration import StudyRun
from vl_ssl.training.study import run_study

RESULTS = Path(__file__).resolve().parents[2] / "results"
STUDIES: dict[str, Callable[[], dict[str, StudyRun]]] = {
    "alarm-choice": alarm_choice_runs,
    "alarm": alarm_runs,
    "hybrid": partial(hybrid_runs, 20, (0.1, 0.2, 0.4, 0.6, 0.8)),
    "hybrid-chunks": partial(hybrid_runs, 500, (0.2, 0.4, 0.8)),
    **{f"phenomenon-{updates}": partial(phenomenon_runs, updates) for updates in (1000, 10_000, 50_000)},
}
KINDS = {"alarm-choice": ("collapsing", "healthy"), "alarm": ("collapsing", "healthy")}
"""Studies whose readings are kept, by the first part of the names of their runs."""
ON_THE_WAY = ("step", "auc", "projection_auc", "knn")
"""Columns of the curves that are kept of the other studies."""
SPACES = ("features", "projections")


def train(study: str, out: Path, part: int, parts: int, first: int | None) -> None:
    """Train this part of a study's runs; each finished one leaves its row and readings in a folder of its name."""
    known = {row["run"] for row in _rows(table(study))}
    runs = [(name, run) for name, run in list(STUDIES[study]().items())[:first] if name not in known][part::parts]
    for name, run in progress_bar(runs, desc=study, unit="run"):
        folder = out / study / run.name
        kept = folder / "result.json"
        if kept.is_file():
            continue
        try:
            row = {**run_study(run, folder), "ended": ""}
        except ValueError as error:
            if "not finite" not in str(error):
                raise
            row = {**run.row(), "ended": str(error)}
        kept.write_text(json.dumps({"name": name, "row": row, "readings": readings(folder), **provenance()}))
        for left in ("checkpoint", "tensorboard"):
            shutil.rmtree(folder / left, ignore_errors=True)


def readings(folder: Path) -> list[dict[str, object]]:
    """Measures for the alarm at each reading of the monitor, and k-NN accuracy where it was measured, by step."""
    found, last = [], None
    for each in read_metrics(folder):
        # A row of metrics repeats the latest reading until the next one.
        values = {name: value for name, value in each.items() if name.startswith("collapse/") and "/" in name[9:]}
        fresh = bool(values) and values != last
        if fresh or "knn" in each:
            row: dict[str, object] = {"step": each["step"]}
            for space in SPACES:
                nesum = each.get(f"collapse/{space}/nesum")
                row[f"{space}/auc"] = f"{each[f'collapse/{space}/auc']:.4f}" if fresh else ""
                row[f"{space}/dominance"] = f"{1 / nesum if nesum else 1:.3f}" if fresh else ""
            shrunk = [space for space in SPACES if fresh and each[f"collapse/{space}/std_scaled"] < SHRUNK]
            found.append({**row, "shrunk": " ".join(shrunk), "knn": each.get("knn", "")})
        last = values
    return found


def table(study: str, kind: str = "") -> Path:
    """File of a study's rows, or of the readings of its runs of a kind."""
    return RESULTS / f"{study.replace('-', '_')}{'_' if kind else ''}{kind}.csv"


def collect(study: str, out: Path) -> int:
    """Add the runs that are finished to the tables of a study, in its order; return their number."""
    rows = {row["run"]: row for row in _rows(table(study))}
    curves: dict[str, list[dict[str, Any]]] = {}
    for kind in KINDS.get(study, ()):
        for row in _rows(table(study, kind)):
            curves.setdefault(f"{kind}/{row.pop('run')}", []).append(row)
    for name, run in STUDIES[study]().items():
        kept = out / study / run.name / "result.json"
        if kept.is_file():
            found = json.loads(kept.read_text())
            rows[name] = {"run": name, **found["row"], **{key: found[key] for key in ("hardware", "torch", "commit")}}
            curves[name] = found["readings"]
    ordered = [rows[name] for name in STUDIES[study]() if name in rows]
    if ordered:
        RESULTS.mkdir(exist_ok=True)
        columns = max(ordered, key=len)  # a run that diverged has no measures
        write_rows(table(study), [{column: row.get(column, "") for column in columns} for row in ordered])
    for kind in KINDS.get(study, ()):
        of_kind = [row["run"] for row in ordered if row["run"].startswith(f"{kind}/")]
        read = [{"run": run.removeprefix(f"{kind}/"), **each} for run in of_kind for each in curves[run]]
        if read:
            write_rows(table(study, kind), read)
    if study not in KINDS:
        collect_curves(study, out)
    return len(ordered)


def collect_curves(study: str, out: Path) -> None:
    """Add AUC and k-NN accuracy on the way of the runs that are finished to a table of the study, in its order."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(table(study, "curves")):
        curves.setdefault(row["run"], []).append(row)
    for name, run in STUDIES[study]().items():
        if (out / study / run.name / "result.json").is_file() and (out / study / run.name / "curve.csv").is_file():
            rows = read_rows(out / study / run.name / "curve.csv")
            curves[name] = [{"run": name, **{column: row[column] for column in ON_THE_WAY}} for row in rows]
    found = [row for name in STUDIES[study]() for row in curves.get(name, [])]
    if found:
        write_rows(table(study, "curves"), found)


def _rows(path: Path) -> list[dict[str, Any]]:
    return list(read_rows(path)) if path.is_file() else []


def main() -> None:
    """Train, then collect."""
    parser = argparse.ArgumentParser(description="Train the runs of a study of collapse.")
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("PART", "PARTS"))
    parser.add_argument("--first", type=int, help="only so many runs from the beginning of the study")
    parser.add_argument("--collect", action="store_true", help="only write the tables of what is finished")
    chosen = parser.parse_args()
    if not chosen.collect:
        part, parts = chosen.part
        train(chosen.study, chosen.out, part, parts, chosen.first)
    print(f"{collect(chosen.study, chosen.out)} of {len(STUDIES[chosen.study]())} runs are in the table")


if __name__ == "__main__":
    main()
