"""Tables of the alarm: how early it comes, how often it is false, and how its rule was chosen.

    python packages/vl-ssl/experiments/collapse/report_alarm.py [--choose]

Reads `results/alarm_readings.csv` and applies the rule to each run's readings again, so the rule can be changed without
training; draws `packages/vl-ssl/docs/alarm.png`. ``--choose`` goes through rules on the runs of the calibration alone.

k-NN accuracy of 1,000 images moves by a point or two between evaluations of one run, and by more with batches of four
images; so a fall of five points counts as soon as one evaluation shows it, and again where two in a row do.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from statistics import median

from configurations import CALIBRATION, collapsing_runs
from vl_core.charts import COLORS, GRAY, PAGE_WIDTH, SMALL, new_figure, save_figure, style_axes
from vl_core.results import markdown_table, read_rows, wilson_interval
from vl_ssl.collapse.alarm import RISE, CollapseAlarm

PACKAGE = Path(__file__).resolve().parents[2]
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
    lasting_fall: int | None
    """Step of the second of the first two evaluations in a row at which it is."""
    best: float
    """Best k-NN accuracy on the way."""
    last: float
    """k-NN accuracy at the end."""

    @property
    def in_time(self) -> bool:
        """True if there was an alarm, before k-NN fell where it did."""
        return before(self.alarm, self.fall)

    @property
    def before_lasting_fall(self) -> bool:
        """True if there was an alarm before two evaluations in a row showed the fall."""
        return before(self.alarm, self.lasting_fall)


def before(alarm: int | None, fall: int | None) -> bool:
    """True if there was an alarm, at the latest where k-NN fell."""
    return alarm is not None and (fall is None or alarm <= fall)


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
        accuracy = [(int(row["step"]), float(row["knn"])) for row in rows if row["knn"]]
        low = fallen(accuracy)
        lasting = [step for (_, earlier), (step, now) in pairwise(low) if earlier and now]
        found.append(
            Outcome(
                name,
                min(steps, default=None),
                next((step for step, now in low if now), None),
                next(iter(lasting), None),
                max(knn for _, knn in accuracy),
                accuracy[-1][1],
            )
        )
    return found


def fallen(accuracy: Iterable[tuple[int, float]]) -> list[tuple[int, bool]]:
    """Whether k-NN is five points below its best so far, evaluation by evaluation."""
    best, found = 0.0, []
    for step, knn in accuracy:
        best = max(best, knn)
        found.append((step, knn <= best - FALL + 1e-9))
    return found


def collapsing(run: Outcome) -> bool:
    """True if a run was made to collapse."""
    # Those of the calibration have no kind in front of their names.
    return run.name.split("/")[1] in collapsing_runs(CALIBRATION)


def shares(found: Iterable[Outcome]) -> dict[str, tuple[int, int]]:
    """How many runs of how many: alarms in time where collapse was made, and false alarms where it was not."""
    made, healthy = [], []
    for run in found:
        (made if collapsing(run) else healthy).append(run)
    return {
        "in time": (sum(run.in_time for run in made), len(made)),
        "before a lasting fall": (sum(run.before_lasting_fall for run in made), len(made)),
        "false alarms": (sum(run.alarm is not None for run in healthy), len(healthy)),
    }


def print_rules(readings: list[dict[str, str]]) -> None:
    """Print what rules do on the runs of the calibration."""
    table = []
    for spaces, patience, rise in product(
        (SPACES, ("features",), ("projections",)), (1, 2, 3), (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
    ):
        counts = shares(outcomes(readings, rise=rise, patience=patience, spaces=spaces))
        rule = {"read": " and ".join(spaces), "rise": rise, "patience": patience}
        table.append(rule | {name: f"{count} of {total}" for name, (count, total) in counts.items()})
    print(markdown_table(table, list(table[0])))


def print_outcomes(found: list[Outcome]) -> None:
    """Print a row for each run, and the shares with their intervals."""
    table = [
        {
            "run": run.name.partition("/")[2],
            "alarm": "-" if run.alarm is None else run.alarm,
            "k-NN fell": "-" if run.fall is None else run.fall,
            "for good": "-" if run.lasting_fall is None else run.lasting_fall,
            "k-NN best %": f"{100 * run.best:.1f}",
            "k-NN last %": f"{100 * run.last:.1f}",
        }
        for run in found
    ]
    print(markdown_table(table, list(table[0])))
    for name, (count, total) in shares(found).items():
        low, high = wilson_interval(count, total)
        print(f"{name}: {count} of {total} ({count / total:.0%}, 95 % interval {low:.0%} to {high:.0%})")
    leads = [run.fall - run.alarm for run in found if run.alarm is not None and run.fall is not None]
    if leads:
        print(f"median lead where k-NN fell: {median(leads):g} updates of {len(leads)} runs")


def draw(path: Path, readings: Iterable[Mapping[str, str]], found: Iterable[Outcome]) -> None:
    """Draw a PNG: AUC of projections over the updates, a line a run, with the first alarm of either space as a dot."""
    figure = new_figure(PAGE_WIDTH, 3.0)
    panels = figure.subplots(1, 2, sharey=True)
    rows: dict[str, list[Mapping[str, str]]] = {}
    for row in readings:
        rows.setdefault(row["run"], []).append(row)
    colors = dict(zip(collapsing_runs(CALIBRATION), COLORS, strict=False))
    for run in found:
        kind = run.name.split("/")[1]
        axes = panels[0 if collapsing(run) else 1]
        curve = [(int(row["step"]), float(row["projections"])) for row in rows[run.name] if row["projections"]]
        color, first = colors.get(kind, GRAY), not any(line.get_label() == kind for line in axes.lines)
        label = kind if first and collapsing(run) else None
        axes.plot(*zip(*curve, strict=True), color=color, linewidth=1.0, alpha=0.8, label=label)
        if run.alarm is not None:
            axes.plot([run.alarm], [dict(curve).get(run.alarm, curve[-1][1])], "o", color=color, markersize=4)
    for axes, title in zip(panels, ("made to collapse", "healthy"), strict=True):
        axes.set_title(title)
        axes.set_xlabel("update")
        style_axes(axes, grid="y")
    panels[0].set_ylabel("AUC of projections")
    panels[0].legend(frameon=False, fontsize=SMALL)
    save_figure(figure, path)


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description="Tables of the collapse alarm.")
    parser.add_argument("--choose", action="store_true", help="go through rules on the runs of the calibration")
    chosen = parser.parse_args()
    rows = read_rows(PACKAGE / "results/alarm_readings.csv")
    if chosen.choose:
        print_rules([row for row in rows if row["run"].startswith("calibration/")])
        return
    judged = [row for row in rows if not row["run"].startswith("calibration/")]
    found = outcomes(judged)
    print_outcomes(found)
    draw(PACKAGE / "docs/alarm.png", judged, found)


if __name__ == "__main__":
    main()
