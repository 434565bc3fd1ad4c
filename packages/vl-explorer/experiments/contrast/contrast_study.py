"""Count the relevant images of searches with and without contrast, in the web that ships.

    OMP_NUM_THREADS=1 python packages/vl-explorer/experiments/contrast/contrast_study.py

Three tasks, seeds and weights of `Exploration.contrast`, the small recipe and the start encoder that ships, without
training. Each run adds a row to `packages/vl-explorer/results/contrast.csv`; runs that have one are passed over, so
that the same command resumes. Prints a table: means over seeds, and bootstrap intervals of the difference to weight 0.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
from vl_core.intervals import paired_difference
from vl_core.progress import progress_bar
from vl_core.results import append_row, markdown_table, provenance, read_rows
from vl_explorer import Explorer, FixedLearner, World, open_start_encoder, open_world, small_exploration

ROWS = Path(__file__).resolve().parents[2] / "results" / "contrast.csv"
TASKS = ("food", "animals", "travel")
WEIGHTS = (0.0, 0.5, 1.0)


def search(world: World, learner: FixedLearner, weight: float, seed: int) -> dict[str, object]:
    """Counts of one search."""
    target = [world.target[place][0] for place in range(len(world.target))]
    settings = small_exploration(contrast=weight, seed=seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        Explorer(target, world.vocabulary, world.engine, learner, out=folder, settings=settings) as explorer,
    ):
        summaries = explorer.run(progress=False)
        found = []
        for iteration in range(len(summaries)):
            queries = explorer.store.queries(explorer.run_id, iteration)
            found.append({result.url for query in queries for result in explorer.store.results(query.id)})
        last = [url for urls in found[-3:] for url in urls]
        stored = {source.url for image in explorer.store.images() for source in explorer.store.sources(image.sha256)}
    return {
        "iterations": len(summaries),
        "images": len(stored),
        "relevant_images": len(stored & world.relevant),
        "last_results": len(last),
        "last_hits": sum(url in world.relevant for url in last),
    }


def table(rows: list[Mapping[str, str]]) -> str:
    """Shares of relevant results in the last three iterations, by task and weight."""
    hits: dict[tuple[str, float], dict[str, float]] = {}
    for row in rows:
        share = 100 * int(row["last_hits"]) / int(row["last_results"])
        hits.setdefault((row["task"], float(row["weight"])), {})[row["seed"]] = share
    lines = []
    for (task, weight), own in hits.items():
        line: dict[str, object] = {"task": task, "weight": f"{weight:g}", "hits, last three": f"{_mean(own):.0f} %"}
        base = hits.get((task, 0.0), {})
        if weight and own.keys() == base.keys() and len(own) > 1:
            gap = paired_difference([own[seed] for seed in base], list(base.values()))
            line["more than without"] = f"{gap.estimate:+.0f} ({gap.low:+.0f} to {gap.high:+.0f})"
        lines.append({"more than without": "", **line})
    return markdown_table(lines, ["task", "weight", "hits, last three", "more than without"])


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values())))


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10, 15)))
    args = parser.parse_args()
    columns = ("task", "weight", "seed")
    done = {tuple(row[name] for name in columns) for row in (read_rows(ROWS) if ROWS.exists() else [])}
    learner = FixedLearner(open_start_encoder("distilled"))
    worlds = {task: open_world(target=task) for task in TASKS}
    runs = list(product(args.seeds, TASKS, WEIGHTS))
    for seed, task, weight in progress_bar(runs, desc="searches"):
        key = (task, f"{weight:g}", str(seed))
        if key not in done:
            row = dict(zip(columns, key, strict=True)) | search(worlds[task], learner, weight, seed)
            append_row(ROWS, row | provenance())
    print(table(list(read_rows(ROWS))))


if __name__ == "__main__":
    main()
