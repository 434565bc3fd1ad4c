"""Table of the study of learning: accuracy of each arm, and what the explorer gains over the others.

    python packages/vl-explorer/experiments/learning/report_learning.py

Reads `packages/vl-explorer/results/learning.csv`. Intervals are Student's, over seeds; gains are of equal seeds.
"""

from __future__ import annotations

from statistics import fmean

from learning_study import ARMS, ROWS
from vl_core.intervals import student_interval
from vl_core.results import markdown_table, read_rows


def main() -> None:
    """Print the table."""
    found: dict[tuple[str, str, str, str], dict[str, dict[str, float]]] = {}
    for row in read_rows(ROWS):
        arms = found.setdefault((row["design"], row["start"], row["updates"], row["task"]), {})
        arms.setdefault(row["arm"], {})[row["seed"]] = 100 * float(row["accuracy"])
    table = []
    for (design, start, updates, task), arms in found.items():
        seeds = sorted(set.intersection(*(set(arms.get(arm, {})) for arm in ARMS)))
        if len(seeds) < 2:
            continue
        line: dict[str, object] = {
            "search": design,
            "start": start,
            "updates": updates,
            "task": task,
            "seeds": len(seeds),
        }
        for arm in ARMS:
            line[f"{arm} %"] = f"{fmean(arms[arm][seed] for seed in seeds):.1f}"
        for other in ARMS[:2]:
            gain = student_interval([arms["explorer"][seed] - arms[other][seed] for seed in seeds])
            line[f"gain over {other}"] = f"{gain.estimate:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})"
        table.append(line)
    print(markdown_table(table, list(table[0])) if table else "no task has two seeds of each arm yet")


if __name__ == "__main__":
    main()
