"""Tables of the alarm: how early it comes, how often it is false, and how its rule was chosen.

    python packages/vl-ssl/experiments/collapse/report_alarm.py [--choose]

Reads the readings of `train_runs.py alarm` and applies the rule to those of each run again, so that it can be changed
without training; draws `packages/vl-ssl/docs/alarm.png`. ``--choose`` goes through rules on the readings of
`alarm-choice`, which judge nothing; the column ``alarm_step`` of its rows is of the rule before that choice.

k-NN accuracy of 1,000 images moves by a point or two between evaluations of one run; so a fall of five points counts
as soon as one evaluation shows it, and again where two in a row do.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from typing import Any

from vl_core.charts import COLORS, GRAY, PAGE_WIDTH, SMALL, new_figure, save_figure, style_axes
from vl_core.results import markdown_table, read_rows, wilson_interval
from vl_ssl.collapse.alarm import CollapseAlarm

PACKAGE = Path(__file__).resolve().parents[2]
FALL = 0.05
"""Fall of k-NN accuracy below its best so far that counts as collapse."""
BEGIN = 100
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
    def collapsing(self) -> bool:
        """True if the run was made to collapse."""
        return self.name.startswith("collapsing/")

    def alarm_before(self, fall: int | None) -> bool:
        """True if there was an alarm, at the latest where k-NN fell."""
        return self.alarm is not None and (fall is None or self.alarm <= fall)


Runs = dict[str, list[Mapping[str, str]]]
"""Readings by run."""


def readings(study: str) -> Runs:
    """Readings of a study, by run."""
    runs: Runs = {}
    for kind in ("collapsing", "healthy"):
        for row in read_rows(PACKAGE / f"results/{study}_{kind}.csv"):
            runs.setdefault(f"{kind}/{row['run']}", []).append(row)
    return runs


def outcomes(runs: Runs, spaces: Iterable[str] = SPACES, **rule: Any) -> list[Outcome]:
    """Apply a rule, with arguments of `CollapseAlarm`, to the readings of all runs."""
    found = []
    for name, rows in runs.items():
        alarms = [first_alarm(rows, CollapseAlarm(begin=BEGIN, space=space, **rule)) for space in spaces]
        accuracy = [(int(row["step"]), float(row["knn"])) for row in rows if row["knn"]]
        low = fallen(accuracy)
        found.append(
            Outcome(
                name,
                min((step for step in alarms if step is not None), default=None),
                next((step for step, now in low if now), None),
                next((step for (_, earlier), (step, now) in pairwise(low) if earlier and now), None),
                max(knn for _, knn in accuracy),
                accuracy[-1][1],
            )
        )
    return found


def first_alarm(rows: Iterable[Mapping[str, str]], alarm: CollapseAlarm) -> int | None:
    """Step of the alarm over the readings of its space."""
    space = alarm.space
    for row in rows:
        if row[f"{space}/auc"]:
            auc, dominance = float(row[f"{space}/auc"]), float(row[f"{space}/dominance"])
            seen = alarm.update(int(row["step"]), auc, dominance=dominance, shrunk=space in row["shrunk"].split())
            if seen is not None:
                return seen.step
    return None


def fallen(accuracy: Iterable[tuple[int, float]]) -> list[tuple[int, bool]]:
    """True or False by step: k-NN is five points below its best so far."""
    best, found = 0.0, []
    for step, knn in accuracy:
        best = max(best, knn)
        found.append((step, knn <= best - FALL + 1e-9))
    return found


def shares(found: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """Counts of runs with their totals: alarms in time where collapse was made, and false alarms where it was not."""
    made = [run for run in found if run.collapsing]
    healthy = [run for run in found if not run.collapsing]
    return {
        "before one evaluation": (sum(run.alarm_before(run.fall) for run in made), len(made)),
        "before two in a row": (sum(run.alarm_before(run.lasting_fall) for run in made), len(made)),
        "false alarms": (sum(run.alarm is not None for run in healthy), len(healthy)),
    }


def print_rules(runs: Runs) -> None:
    """Print what rules do on the runs of the choice."""
    table = []
    for spaces, rise, dominated, patience in product(
        (SPACES, ("features",), ("projections",)), (0.6, 0.7, 0.75, 0.8), (0.3, 0.4, 0.5, 0.6), (1, 2, 3)
    ):
        counts = shares(outcomes(runs, spaces, rise=rise, dominated_rise=dominated, patience=patience))
        row = {"read": " and ".join(spaces), "rise": rise, "where dominated": dominated, "patience": patience}
        table.append(row | {name: f"{count} of {total}" for name, (count, total) in counts.items()})
    print(markdown_table(table, list(table[0])))


def summary(found: Sequence[Outcome]) -> list[dict[str, str]]:
    """A row for each way to collapse, and one for the healthy runs: ranges over seeds."""
    kinds: dict[str, list[Outcome]] = {}
    for run in found:
        kinds.setdefault(run.name.split("/")[1] if run.collapsing else "healthy", []).append(run)
    return [
        {
            "run": kind,
            "alarms": f"{sum(run.alarm is not None for run in runs)} of {len(runs)}",
            "at update": spread([run.alarm for run in runs]),
            "k-NN five points down": f"{sum(run.fall is not None for run in runs)} of {len(runs)}",
            "from update": spread([run.fall for run in runs]),
            "best k-NN minus last, points": spread([round(100 * (run.best - run.last), 1) for run in runs]),
        }
        for kind, runs in kinds.items()
    ]


def spread(values: Iterable[float | None]) -> str:
    """Smallest and largest of what there is."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{min(known):g} to {max(known):g}" if min(known) < max(known) else f"{known[0]:g}"


def print_outcomes(found: Sequence[Outcome]) -> None:
    """Print a row for each run, then by kind, and the shares with their intervals."""
    table = [
        {
            "run": run.name.partition("/")[2],
            "alarm": "-" if run.alarm is None else run.alarm,
            "k-NN fell": "-" if run.fall is None else run.fall,
            "twice": "-" if run.lasting_fall is None else run.lasting_fall,
            "k-NN best %": f"{100 * run.best:.1f}",
            "k-NN last %": f"{100 * run.last:.1f}",
        }
        for run in found
    ]
    for rows in (table, summary(found)):
        print(markdown_table(rows, list(rows[0])))
    for name, (count, total) in shares(found).items():
        low, high = wilson_interval(count, total)
        print(f"{name}: {count} of {total} ({count / total:.0%}, 95 % interval {low:.0%} to {high:.0%})")
    leads = [run.fall - run.alarm for run in found if run.alarm is not None and run.fall is not None]
    if leads:
        print(f"median lead where k-NN fell: {median(leads):g} updates of {len(leads)} runs")


def draw(path: Path, runs: Runs, found: Iterable[Outcome]) -> None:
    """Draw a PNG: AUC of projections over the updates, a line a run, with the first alarm of either space as a dot."""
    figure = new_figure(PAGE_WIDTH, 3.0)
    panels = figure.subplots(1, 2, sharey=True)
    colors: dict[str, str] = {}
    for run in found:
        kind, curve = run.name.split("/")[1], {}
        for row in runs[run.name]:
            if row["projections/auc"]:
                curve[int(row["step"])] = float(row["projections/auc"])
        axes, color, label = panels[1], GRAY, None
        if run.collapsing:
            axes, label = panels[0], None if kind in colors else kind
            color = colors.setdefault(kind, COLORS[len(colors)])
        axes.plot([*curve], [*curve.values()], color=color, linewidth=1.0, alpha=0.8, label=label)
        if run.alarm is not None:
            axes.plot([run.alarm], [curve[run.alarm]], "o", color=color, markersize=4)
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
    parser.add_argument("--choose", action="store_true", help="go through rules on the runs of the choice")
    if parser.parse_args().choose:
        print_rules(readings("alarm_choice"))
        return
    runs = readings("alarm")
    found = outcomes(runs)
    print_outcomes(found)
    draw(PACKAGE / "docs/alarm.png", runs, found)


if __name__ == "__main__":
    main()
