"""Write the runs that ship for `vl-ssl forecast`: those of the alarm's studies on clothes that kept a finite loss.

    python packages/vl-ssl/experiments/collapse/ship_forecast_runs.py

Accuracies of different data sets do not compare, so there is one.
"""

from __future__ import annotations

from pathlib import Path

from vl_core.results import read_rows
from vl_core.tables import write_rows
from vl_ssl.forecast.runs import BUILT_IN

RESULTS = Path(__file__).resolve().parents[2] / "results"
LEFT_OUT = ("alarm_step", "seconds", "ended", "hardware", "torch", "commit")


def main() -> None:
    """Write the file."""
    rows = [row for study in ("alarm_choice", "alarm") for row in read_rows(RESULTS / f"{study}.csv")]
    kept = [row for row in rows if row["images"] == "fashion" and not row["ended"]]
    write_rows(BUILT_IN, [{name: value for name, value in row.items() if name not in LEFT_OUT} for row in kept])
    print(f"{len(kept)} runs")


if __name__ == "__main__":
    main()
