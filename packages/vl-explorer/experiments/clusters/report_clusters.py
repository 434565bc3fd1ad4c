"""Table and chart of `find_clusters.py` beside the paper's lemma.

    python packages/vl-explorer/experiments/clusters/report_clusters.py

Prints a Markdown table and draws `packages/vl-explorer/docs/clusters.png`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from vl_core.charts import COLORS, GRAY, PAGE_WIDTH, SMALL, new_figure, save_figure, style_axes
from vl_core.intervals import student_interval
from vl_core.results import markdown_table, read_rows
from vl_explorer import ClusterWorld

PACKAGE = Path(__file__).resolve().parents[2]
Rows = Sequence[dict[str, str]]


def mean(rows: Rows, column: str) -> str:
    """Mean of a column with Student's interval."""
    values = [float(row[column]) for row in rows]
    if min(values) < 0:
        return "not within the limit"
    if len(values) == 1:
        return f"{values[0]:,.0f} (one seed)"
    found = student_interval(values)
    return f"{found.estimate:,.0f} ({found.low:,.0f} to {found.high:,.0f})"


def expectations(row: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Expected queries to find and to complete, without replacement and with it, the lemma's."""
    concepts, size, relevant = int(row["concepts"]), int(row["size"]), int(row["relevant"])
    # The numbers depend on sizes alone; two dimensions are the fewest.
    world = ClusterWorld(concepts, concepts // size, relevant, dimensions=2)
    return {"without": world.expected_uniform(), "with": world.expected_uniform(replacement=True)}


def table(by_size: dict[int, dict[str, Rows]]) -> str:
    """Queries of the policies by size of cluster, with the expectations."""
    lines = []
    for size, own in sorted(by_size.items()):
        expected = expectations(own["gp"][0])
        complete = np.mean([float(row["queries_to_complete"]) for row in own["gp"]])
        lines.append(
            {
                "s": size,
                "seeds": len(own["gp"]),
                "GP: found": mean(own["gp"], "queries_to_find"),
                "lemma: n H_c / s": f"{expected['with'][0]:,.0f}",
                "GP: complete": mean(own["gp"], "queries_to_complete"),
                "uniform: complete": mean(own["uniform"], "queries_to_complete"),
                "expected": f"{expected['without'][1]:,.0f}",
                "lemma: n H_cs": f"{expected['with'][1]:,.0f}",
                "fewer": f"{np.mean([float(r['queries_to_complete']) for r in own['uniform']]) / complete:.0f}x",
            }
        )
    return markdown_table(lines, list(lines[0]))


def draw_curves(by_size: dict[int, dict[str, Rows]], path: Path) -> None:
    """Relevant concepts by queries, and queries by the size of a cluster."""
    figure = new_figure(PAGE_WIDTH, 3.2)
    left, right = figure.subplots(1, 2)
    for color, (size, own) in zip(COLORS, sorted(by_size.items()), strict=False):
        for row in own["gp"]:
            counts = np.array([0, *map(int, row["relevant_by_256_queries"].split())])
            share = counts / (int(row["relevant"]) * size)
            name = f"process, s = {size}" if row is own["gp"][0] else None
            left.plot(256 * np.arange(len(share)), 100 * share, color=color, linewidth=1.2, label=name)
    longest = max(int(row["queries"]) for own in by_size.values() for row in own["gp"])
    left.plot([0, longest], [0, 100 * longest / 100_000], color=GRAY, linestyle="--", label="uniform")
    left.set_xlabel("queries")
    left.set_ylabel("relevant concepts searched for, %")
    style_axes(left, grid="y")
    left.legend(frameon=False, fontsize=SMALL)
    sizes = sorted(by_size)
    expected = [expectations(by_size[size]["gp"][0]) for size in sizes]
    for draws, place, color, line, name in (
        ("with", 1, GRAY, ":", "lemma, uniform: n H_cs"),
        ("without", 1, GRAY, "--", "uniform, no repeats"),
        ("with", 0, COLORS[1], ":", "lemma, GP: n H_c / s"),
    ):
        lines = [one[draws][place] for one in expected]
        right.plot(sizes, lines, color=color, linestyle=line, marker="_", markersize=14, label=name)
    for column, marker, label in (
        ("queries_to_complete", "o", "process, all concepts"),
        ("queries_to_find", "s", "process, first of each"),
    ):
        points = [(size, float(row[column])) for size in sizes for row in by_size[size]["gp"] if float(row[column]) > 0]
        right.plot(
            *zip(*points, strict=True), marker, color=COLORS[0 if marker == "o" else 1], markersize=4, label=label
        )
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xticks(sizes, [str(size) for size in sizes])
    right.minorticks_off()
    right.set_xlabel("concepts of a cluster, s")
    right.set_ylabel("queries")
    style_axes(right, grid="y")
    right.set_ylim(300, 3e8)
    right.legend(frameon=False, fontsize=SMALL, loc="upper left")
    save_figure(figure, path)


def main() -> None:
    """Print the table and draw the chart."""
    by_size: dict[int, dict[str, Rows]] = {}
    for row in read_rows(PACKAGE / "results" / "clusters.csv"):
        own = by_size.setdefault(int(row["size"]), {})
        own[row["policy"]] = [*own.get(row["policy"], []), row]
    by_size = {size: own for size, own in by_size.items() if "gp" in own}
    print(table(by_size))
    draw_curves(by_size, PACKAGE / "docs" / "clusters.png")


if __name__ == "__main__":
    main()
