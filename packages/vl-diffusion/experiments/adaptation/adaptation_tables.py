"""Make the tables of vl-diffusion's studies of test-time adaptation from the rows that `vl-diffusion adapt` wrote.

    python packages/vl-diffusion/experiments/adaptation/adaptation_tables.py

prints a Markdown table for each folder of `packages/vl-diffusion/results/adaptation/`: a line per corruption
and severity, with accuracies in per cent over all seeds, and gains over the source in points with their 95 % intervals;
and below it a table of what each method cost. The figure of the documentation is drawn from the same rows by

    python packages/vl-diffusion/experiments/adaptation/adaptation_tables.py --figure packages/vl-diffusion/docs/adapt.png
"""  # noqa: E501

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from vl_core.charts import in_words
from vl_core.results import markdown_table, read_rows
from vl_diffusion.charts.adaptation import draw_gains
from vl_diffusion.studies.adaptation.names import METHOD_TITLES
from vl_diffusion.studies.adaptation.report import study_title

RESULTS = Path(__file__).resolve().parents[2] / "results/adaptation"
SOURCE, DEFAULT, ONLINE = "source", "default", "default_online"

Row = Mapping[str, str]


def gains_table(gains: Sequence[Row]) -> str:
    """Return accuracies of all methods and gains of the defaults, a line per cell, with the overall mean last."""
    methods = [method for method in _methods(gains) if method not in (DEFAULT, ONLINE)]
    lines = []
    for cell, rows in _cells(gains).items():
        line = {"corruption": _name(*cell)}
        line |= {_title(method): _percent(rows[method]["accuracy"]) for method in methods if method in rows}
        for method in (DEFAULT, ONLINE):
            if method in rows:
                line[_title(method)] = _percent(rows[method]["accuracy"])
                line[f"gain, {_title(method)}"] = _gain(rows[method])
        if DEFAULT in rows:
            line["adapted"] = f"{100 * float(rows[DEFAULT]['adapted']):.0f} %"
        if "ungated" in rows:
            line["oracle gate"] = _percent(rows["ungated"]["oracle_accuracy"])
        lines.append(line)
    return markdown_table(lines, list(dict.fromkeys(name for line in lines for name in line)))


def cost_table(rows: Sequence[Row], gains: Sequence[Row]) -> str:
    """Return each method's cost per image and its gain, over all cells and seeds."""
    over_all = {row["method"]: row for row in gains if row["corruption"] == "all"}
    lines = []
    for method in _methods(gains):
        own = [row for row in rows if row["method"] == method]
        images = sum(int(row["images"]) for row in own)
        lines.append(
            {
                "method": _title(method),
                "gain over all cells": _gain(over_all[method]),
                "evaluations per image": f"{_mean(own, 'passes_per_image'):,.0f}",
                "CPU seconds per image": f"{sum(float(row['cpu_seconds']) for row in own) / images:.3f}",
            }
        )
    return markdown_table(lines, list(lines[0]))


def tables(folder: Path) -> str:
    """Return both tables of a study's folder."""
    gains = read_rows(folder / "gains.csv")
    return gains_table(gains) + "\n" + cost_table(read_rows(folder / "adapt.csv"), gains)


def draw(folder: Path, path: Path, severity: str = "5") -> None:
    """Draw the accuracies and gains of a study on clean images, at one severity, and over all severities."""
    rows, settings = read_rows(folder / "gains.csv"), read_rows(folder / "adapt.csv")
    shown = [row for row in rows if row["severity"] in ("0", severity, "all")]
    levels = sorted({row["severity"] for row in rows} - {"0", "all"})
    names = {"all": f"all, severity {' and '.join(levels)}"}
    images, seeds = int(settings[0]["images"]), len({row["seed"] for row in settings})
    draw_gains(
        path,
        [
            SimpleNamespace(
                corruption=names.get(row["corruption"], row["corruption"]),
                method=row["method"],
                **{name: float(row[name]) for name in ("accuracy", "gain", "gain_low", "gain_high")},
            )
            for row in shown
        ],
        study_title(images, [int(severity)], seeds),
        {method: METHOD_TITLES[method] for method in _methods(shown)},
    )


def _methods(gains: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in gains))


def _cells(gains: Iterable[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    cells: dict[tuple[str, str], dict[str, Row]] = {}
    for row in gains:
        cells.setdefault((row["corruption"], row["severity"]), {})[row["method"]] = row
    return cells


def _name(corruption: str, severity: str) -> str:
    if corruption == "all":
        return "all"
    return in_words(corruption) if severity == "0" else f"{in_words(corruption)} {severity}"


def _title(method: str) -> str:
    return {DEFAULT: "default", ONLINE: "online", SOURCE: "source"}.get(method, METHOD_TITLES[method])


def _percent(share: str) -> str:
    return f"{100 * float(share):.1f}"


def _gain(row: Row) -> str:
    return f"{float(row['gain']):+.1f} ({float(row['gain_low']):+.1f} to {float(row['gain_high']):+.1f})"


def _mean(rows: Sequence[Row], name: str) -> float:
    return sum(float(row[name]) for row in rows) / len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--figure", type=Path, help="write this PNG file of the rows of few_labels/; no tables")
    args = parser.parse_args()
    if args.figure:
        draw(args.results / "few_labels", args.figure)
        return
    for folder in sorted(path.parent for path in args.results.glob("*/gains.csv")):
        print(f"{folder.name}\n\n{tables(folder)}")


if __name__ == "__main__":
    main()
