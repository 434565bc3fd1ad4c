"""Tables of the alarm: how early it comes, how often it is false, and how its rule was chosen.

    python packages/vl-ssl/experiments/collapse/report_alarm.py [--choose]

Reads `results/alarm_readings.csv` and applies the rule to each run's readings again, so the rule can be changed without
training. ``--choose`` goes through rules on the runs of the calibration alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from vl_core.results import markdown_table, read_rows, wilson_interval
from vl_ssl.collapse.alarm import RISE, CollapseAlarm

READINGS = Path(__file__).resolve().parents[2] / "results/alarm_readings.csv"
FALL = 0.05
"""Fall of k-NN accuracy below its best so far that counts as collapse."""
SPACES = ("features", "projections")


@dataclass(frozen=True)
class Outcome:
    """A run, as the alarm and k-NN saw it."""

    name: str
    alarm: int | None
    """Step of the first alarm."""
    fall: int | None
    """Step of the first evaluation at which k-NN is five points below its best so far."""
    best: float
    """Best k-NN accuracy on the way."""
    last: float
    """k-NN accuracy at the end."""

    @property
    def in_time(self) -> bool:
        """True if there was an alarm, before k-NN fell where it did."""
        return self.alarm is not None and (self.fall is None or self.alarm <= self.fall)


def outcomes(
    readings: Iterable[Mapping[str, str]],
    *,
    rise: float = RISE,
    patience: int = 2,
    begin: int = 100,
    spaces: Iterable[str] = SPACES,
) -> list[Outcome]:
    """Apply a rule to the readings of all runs."""
    runs: dict[str, list[Mapping[str, str]]] = {}
    for row in readings:
        runs.setdefault(row["run"], []).append(row)
    found = []
    for name, rows in runs.items():
        steps = []
        for space in spaces:
            alarm = CollapseAlarm(rise=rise, patience=patience, space=space)
            for row in rows:
                step = int(row["step"])
                if step >= begin and row[space] and (seen := alarm.update(step, float(row[space]))):
                    steps.append(seen.step)
        best, fall, knn = 0.0, None, 0.0
        for row in rows:
            if row["knn"]:
                knn = float(row["knn"])
                best = max(best, knn)
                if fall is None and knn <= best - FALL + 1e-9:
                    fall = int(row["step"])
        found.append(Outcome(name, min(steps, default=None), fall, best, knn))
    return found


def shares(found: Iterable[Outcome]) -> tuple[int, int, int, int]:
    """Collapsing runs with an alarm in time and their number; false alarms and the number of healthy runs."""
    runs = list(found)
    # The calibration names its runs without a kind: those that are made to collapse are known by their names.
    made = ("no predictor", "no stop-gradient", "rate x 30", "batch of 4")
    collapsing = [run for run in runs if any(name in run.name.split("/")[1] for name in made)]
    healthy = [run for run in runs if run not in collapsing]
    return (
        sum(run.in_time for run in collapsing),
        len(collapsing),
        sum(run.alarm is not None for run in healthy),
        len(healthy),
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Tables of the collapse alarm.")
    parser.add_argument("--choose", action="store_true", help="go through rules on the runs of the calibration")
    chosen = parser.parse_args()
    rows = read_rows(READINGS)
    calibration = [row for row in rows if row["run"].startswith("calibration/")]
    judged = [row for row in rows if not row["run"].startswith("calibration/")]
    if chosen.choose:
        table = []
        for spaces in (SPACES, ("features",), ("projections",)):
            for patience in (1, 2, 3):
                for rise in (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6):
                    early, of, false, healthy = shares(
                        outcomes(calibration, rise=rise, patience=patience, spaces=spaces)
                    )
                    table.append(
                        {
                            "read": " and ".join(spaces),
                            "rise": rise,
                            "patience": patience,
                            "in time": f"{early} of {of}",
                            "false": f"{false} of {healthy}",
                        }
                    )
        print(markdown_table(table, list(table[0])))
        return
    found = outcomes(judged)
    table = [
        {
            "run": run.name.partition("/")[2],
            "alarm": "-" if run.alarm is None else run.alarm,
            "k-NN fell": "-" if run.fall is None else run.fall,
            "k-NN best": f"{run.best:.3f}",
            "k-NN last": f"{run.last:.3f}",
        }
        for run in found
    ]
    print(markdown_table(table, list(table[0])))
    early, of, false, healthy = shares(found)
    leads = [run.fall - run.alarm for run in found if run.alarm is not None and run.fall is not None]
    for name, count, total in (("in time", early, of), ("false alarms", false, healthy)):
        if total:
            low, high = wilson_interval(count, total)
            print(f"{name}: {count} of {total} ({count / total:.0%}, 95 % interval {low:.0%} to {high:.0%})")
    if leads:
        print(f"median lead where k-NN fell: {median(leads):g} updates of {len(leads)} runs")


if __name__ == "__main__":
    main()
