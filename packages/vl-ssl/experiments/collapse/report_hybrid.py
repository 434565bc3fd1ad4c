"""Table of the switch of hybrid schedules: at fixed shares of the run, and where the alarm asks for it.

    python packages/vl-ssl/experiments/collapse/report_hybrid.py
    python packages/vl-ssl/experiments/collapse/report_hybrid.py hybrid-chunks

Reads the rows of `train_runs.py` for that study, ``hybrid`` by default. Intervals are Student's, of differences between
runs of one seed.
"""

from __future__ import annotations

import argparse
from statistics import fmean

from configurations import SEEDS
from train_runs import table
from vl_core.intervals import student_interval
from vl_core.results import markdown_table, read_rows

TRIGGERED = "triggered"


def main() -> None:
    """Print the table, and the triggered switch against the best fixed one."""
    parser = argparse.ArgumentParser(description="Print the table of hybrid schedules.")
    parser.add_argument("study", nargs="?", choices=("hybrid", "hybrid-chunks"), default="hybrid")
    study = parser.parse_args().study
    runs: dict[str, dict[int, dict[str, str]]] = {}
    for row in read_rows(table(study)):
        runs.setdefault(row["run"].partition("/")[0], {})[int(row["seed"])] = row
    whole = {name: [own[seed] for seed in SEEDS] for name, own in runs.items() if own.keys() == set(SEEDS)}
    knn = {name: [float(row["knn"]) for row in own] for name, own in whole.items()}
    rows = [
        {
            "schedule": name,
            "k-NN %": f"{100 * fmean(knn[name]):.1f}",
            "of the seeds": ", ".join(f"{100 * value:.1f}" for value in knn[name]),
            "AUC": f"{fmean(float(row['auc']) for row in own):.3f}",
            "of projections": f"{fmean(float(row['projection_auc']) for row in own):.3f}",
            "first alarm at": ", ".join(row["alarm_step"] or "-" for row in own),
        }
        for name, own in whole.items()
    ]
    print(markdown_table(rows, list(rows[0])))
    fixed = [name for name in whole if name.startswith("switch at")]
    best = max(fixed, key=lambda name: fmean(knn[name]))
    # The best of several is chosen by the same runs, which favors it.
    for other in (best, "multi-epoch", "continual"):
        found = student_interval([100 * (a - b) for a, b in zip(knn[TRIGGERED], knn[other], strict=True)])
        print(
            f"k-NN of the triggered switch minus that of {other}: {found.estimate:+.1f} points, 95 % interval "
            f"{found.low:+.1f} to {found.high:+.1f}"
        )


if __name__ == "__main__":
    main()
