"""Table and chart of `search_study.py`.

    python packages/vl-explorer/experiments/search/report_search.py

Prints Markdown tables, a task and policy a row, and draws `packages/vl-explorer/docs/search.png`. Ratios are of sums
over seeds, to random exploration, with percentile intervals of a bootstrap over the seeds, which the policies share.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vl_core.charts import COLORS, PAGE_WIDTH, SMALL, new_figure, save_figure, style_axes
from vl_core.intervals import bootstrap, paired_difference, student_interval
from vl_core.results import markdown_table, read_rows

PACKAGE = Path(__file__).resolve().parents[2]
NAMES = {"gp": "Gaussian process", "linear": "linear bandit", "greedy": "greedy by name", "random": "random"}
Row = Mapping[str, str]
Groups = dict[tuple[str, str, str], list[Row]]


def numbers(rows: Sequence[Row], column: str) -> NDArray[np.float64]:
    """A column in the order of the seeds."""
    return np.array([float(row[column]) for row in sorted(rows, key=lambda row: int(row["seed"]))])


def ratio(of: NDArray[np.float64], to: NDArray[np.float64]) -> str:
    """Ratio of the means of two policies over seeds, ``(N, 2)`` each of counts and totals, with its interval."""

    def statistic(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        (hits, images), (base, others) = first.sum(axis=0), second.sum(axis=0)
        return float(hits / images / (max(base, 1) / others))

    found = bootstrap(statistic, of, to, paired=True)
    return f"{found.estimate:.1f} ({found.low:.1f} to {found.high:.1f})"


def table(groups: Groups, encoder: str) -> str:
    """Measures of every task and policy."""
    lines = []
    for (name, task, policy), rows in groups.items():
        if name != encoder:
            continue
        base = groups[name, task, "random"]
        last, unique = (
            [np.stack([numbers(part, column) for column in columns], axis=1) for part in (rows, base)]
            for columns in (("last_hits", "last_images"), ("unique_relevant", "unique_images"))
        )
        hits = student_interval(100 * last[0][:, 0] / last[0][:, 1])
        lines.append(
            {
                "task": task,
                "policy": NAMES[policy],
                "hits in the last third": f"{hits.estimate:.0f} % ({hits.low:.0f} to {hits.high:.0f})",
                "to random": "" if policy == "random" else ratio(*last),
                "unique relevant images": f"{unique[0][:, 0].mean():.0f} of {rows[0]['budget']}",
                "their ratio": "" if policy == "random" else ratio(*unique),
                "AUROC of rewards": rows[0]["reward_auroc"],
                "queries": f"{numbers(rows, 'queries').mean():.0f}",
            }
        )
    return markdown_table(lines, list(lines[0]))


def compare(groups: Groups, encoder: str) -> str:
    """Relevant images of the process less those of the other policies, by seed."""
    lines = []
    for (name, task, policy), rows in groups.items():
        if name == encoder and policy in ("linear", "greedy"):
            own = numbers(groups[name, task, "gp"], "unique_relevant")
            gap = paired_difference(own, numbers(rows, "unique_relevant"))
            lines.append(
                {
                    "task": task,
                    "process less": NAMES[policy],
                    "relevant images": f"{gap.estimate:+.0f} ({gap.low:+.0f} to {gap.high:+.0f})",
                }
            )
    return markdown_table(lines, list(lines[0]))


def draw_curves(groups: Groups, encoder: str, path: Path) -> None:
    """Relevant images by downloads, a panel a task and a line a seed."""
    tasks = list(dict.fromkeys(task for name, task, _ in groups if name == encoder))
    figure = new_figure(PAGE_WIDTH, 2.8)
    for axes, task in zip(np.atleast_1d(figure.subplots(1, len(tasks))), tasks, strict=True):
        for color, policy in zip(COLORS, NAMES, strict=False):
            for row in groups[encoder, task, policy]:
                images, hits = (
                    np.cumsum([0, *map(int, row[column].split())])
                    for column in ("images_by_iteration", "relevant_by_iteration")
                )
                label = NAMES[policy] if row is groups[encoder, task, policy][0] else None
                axes.plot(images, hits, color=color, linewidth=1.1, alpha=0.8, label=label)
        axes.set_title(task)
        axes.set_xlabel("images downloaded")
        style_axes(axes, grid="y")
        if task == tasks[0]:
            axes.set_ylabel("relevant images")
            figure.legend(loc="outside upper center", ncols=len(NAMES), frameon=False, fontsize=SMALL)
    save_figure(figure, path)


def main() -> None:
    """Print tables and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chart", default="imagenet, contrast", help="encoder and design of the chart")
    args = parser.parse_args()
    groups: Groups = {}
    for row in read_rows(PACKAGE / "results" / "search.csv"):
        groups.setdefault((f"{row['encoder']}, {row['design']}", row["task"], row["policy"]), []).append(row)
    for encoder in dict.fromkeys(name for name, *_ in groups):
        print(f"{encoder}\n\n{table(groups, encoder)}\n{compare(groups, encoder)}")
    draw_curves(groups, args.chart, PACKAGE / "docs" / "search.png")


if __name__ == "__main__":
    main()
