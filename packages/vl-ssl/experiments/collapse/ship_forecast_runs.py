"""Write the runs that ship for `vl-ssl forecast`: those of the alarm's studies on clothes that kept a finite loss.

    python packages/vl-ssl/experiments/collapse/ship_forecast_runs.py

Accuracies of different data sets do not compare, so there is one. ``alarm_step`` is that of the rule as it is now.
"""

from __future__ import annotations

from pathlib import Path

from report_alarm import outcomes, readings
from vl_core.results import read_rows
from vl_core.tables import write_rows
from vl_ssl.forecast.runs import BUILT_IN

RESULTS = Path(__file__).resolve().parents[2] / "results"
LEFT_OUT = ("seconds", "ended", "hardware", "torch", "commit")


def main() -> None:
    """Write the file."""
    rows = []
    for study in ("alarm_choice", "alarm"):
        alarms = {run.name: run.alarm for run in outcomes(readings(study))}
        for row in read_rows(RESULTS / f"{study}.csv"):
            if row["images"] == "fashion" and not row["ended"]:
                kept = {name: value for name, value in row.items() if name not in LEFT_OUT}
                rows.append({**kept, "alarm_step": alarms[row["run"]]})
    write_rows(BUILT_IN, rows)
    print(f"{len(rows)} runs")


if __name__ == "__main__":
    main()
