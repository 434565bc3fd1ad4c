"""Train the runs of a study, one after the other; rerun to resume.

    VL_DATA=../shared/data python packages/vl-ssl/experiments/collapse/train_runs.py alarm --out runs

`alarm` and `hybrid` need no data beside the package; `phenomenon-1000`, `-10000` and `-50000` take the full
Fashion-MNIST from ``$VL_DATA/fashion_mnist`` or Debian's package. A finished run is a row of
`packages/vl-ssl/results/<study>.csv` and, for `alarm` and `hybrid`, its readings are rows of `<study>_readings.csv`;
what is there already is not trained again. Two processes may share the work: ``--part 0 2`` and ``--part 1 2`` each
write rows of their own study folder, which ``--collect`` puts together.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from configurations import alarm_runs, hybrid_runs, phenomenon_runs
from vl_core.progress import progress_bar
from vl_core.results import provenance
from vl_core.runs import read_metrics
from vl_core.tables import write_rows
from vl_ssl.training.configuration import StudyRun
from vl_ssl.training.study import run_study

RESULTS = Path(__file__).resolve().parents[2] / "results"
STUDIES: dict[str, Callable[[], dict[str, StudyRun]]] = {
    "alarm": alarm_runs,
    "hybrid": hybrid_runs,
    **{f"phenomenon-{updates}": partial(phenomenon_runs, updates) for updates in (1000, 10_000, 50_000)},
}
WITH_READINGS = ("alarm", "hybrid")


def train(study: str, out: Path, part: int, parts: int) -> None:
    """Train this part of a study's runs; each finished one leaves its row and readings in a folder of its name."""
    runs = list(STUDIES[study]().items())[part::parts]
    for name, run in progress_bar(runs, desc=study, unit="run"):
        folder = out / study / run.name
        kept = folder / "result.json"
        if kept.is_file():
            continue
        row = run_study(run, folder)
        readings = [
            {
                "step": each["step"],
                "loss": round(each["loss"], 4),
                "features": round(each["collapse/features/auc"], 5),
                "projections": round(each["collapse/projections/auc"], 5),
                "knn": each.get("knn", ""),
            }
            for each in read_metrics(folder)
            if "collapse/features/auc" in each and "collapse/projections/auc" in each
        ]
        kept.write_text(json.dumps({"name": name, "row": row, "readings": readings, **provenance()}))
        for left in ("checkpoint", "tensorboard"):
            shutil.rmtree(folder / left, ignore_errors=True)


def collect(study: str, out: Path) -> int:
    """Write the tables of a study from the runs that are finished; return their number."""
    rows, readings = [], []
    for name, run in STUDIES[study]().items():
        kept = out / study / run.name / "result.json"
        if not kept.is_file():
            continue
        found = json.loads(kept.read_text())
        origin = {key: found[key] for key in ("hardware", "torch", "commit")}
        rows.append({"run": name, **found["row"], **origin})
        readings += [{"run": name, **each} for each in found["readings"]]
    if rows:
        RESULTS.mkdir(exist_ok=True)
        write_rows(RESULTS / f"{study.replace('-', '_')}.csv", rows)
        if study in WITH_READINGS:
            write_rows(RESULTS / f"{study}_readings.csv", readings)
    return len(rows)


def main() -> None:
    """Train, then collect."""
    parser = argparse.ArgumentParser(description="Train the runs of a study of collapse.")
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("PART", "PARTS"))
    parser.add_argument("--collect", action="store_true", help="only write the tables of what is finished")
    chosen = parser.parse_args()
    if not chosen.collect:
        train(chosen.study, chosen.out, *chosen.part)
    print(f"{collect(chosen.study, chosen.out)} of {len(STUDIES[chosen.study]())} runs are in the table")


if __name__ == "__main__":
    main()
