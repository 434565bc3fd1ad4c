"""Make the tables of vl-attention's study from the rows that `vl-attention train` wrote.

    python packages/vl-attention/experiments/transfer/transfer_tables.py

prints a Markdown table for each folder of `packages/vl-attention/results/`: a line per method with its accuracy in per
cent over all seeds, the gain over training from scratch in points with Student's 95 % interval over seeds, and the
share of the gap to fine-tuning; and below it the gain of the ensemble over the better of its members, seed by seed.
Last come the learning rates of `search_transfer_rates.py`: accuracy on held-out images by method and peak learning
rate. The figures of the documentation, `transfer.png` and `similarity.png`, are drawn from the rows of 40 epochs by

    python packages/vl-attention/experiments/transfer/transfer_tables.py --figures packages/vl-attention/docs
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from vl_attention.analysis.similarity import MapSimilarity
from vl_attention.charts.similarity import draw_layer_similarity
from vl_attention.charts.transfer import draw_transfer
from vl_attention.comparison.methods import ENSEMBLE, ENSEMBLE_MEMBERS
from vl_attention.comparison.summary import Interval, mean_interval, summarize
from vl_core.results import markdown_table, read_rows

RESULTS = Path(__file__).resolve().parents[2] / "results"

Row = Mapping[str, str]


def methods_table(rows: Sequence[Row]) -> str:
    """Return a table with a line per method."""
    lines = [
        {
            "method": summary.method,
            "seeds": len(summary.seeds),
            "accuracy": f"{100 * summary.accuracy.mean:.1f}",
            "over scratch": "" if summary.gain is None else _points(summary.gain),
            "of the gap": "" if summary.share_of_gap is None else f"{100 * summary.share_of_gap:.0f} %",
            "seconds a run": f"{summary.seconds:.0f}" if summary.seconds else "",
        }
        for summary in summarize(rows, "")
    ]
    return markdown_table(lines, list(lines[0]))


def ensemble_line(rows: Sequence[Row]) -> str:
    """Return the ensemble's gain over the better member in points, by seed; empty without an ensemble."""
    by_seed: dict[str, dict[str, float]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], {})[row["method"]] = 100 * float(row["accuracy"])
    gains = [
        found[ENSEMBLE] - max(found[name] for name in ENSEMBLE_MEMBERS)
        for found in by_seed.values()
        if ENSEMBLE in found
    ]
    if not gains:
        return ""
    each = ", ".join(f"{gain:+.1f}" for gain in gains)
    return f"ensemble over the better of its members, by seed: {each}; mean {mean_interval(gains).mean:+.1f}\n"


def rates_table(rows: Sequence[Row]) -> str:
    """Return accuracies in per cent, means over seeds, with a line per method and a column per peak learning rate."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row["method"], row["rate"]), []).append(100 * float(row["accuracy"]))
    methods = dict.fromkeys(method for method, _ in found)
    rates = sorted({rate for _, rate in found}, key=float)
    lines = [
        {"method": method}
        | {rate: f"{fmean(found[method, rate]):.1f}" if (method, rate) in found else "" for rate in rates}
        for method in methods
    ]
    return markdown_table(lines, list(lines[0]))


def draw_figures(folder: Path, out: Path) -> None:
    """Draw the accuracies of a study, and how much its maps differ from the teacher's."""
    rows = read_rows(folder / "transfer.csv")
    labels, epochs, seeds = rows[0]["labels"], rows[0]["epochs"], len({row["seed"] for row in rows})
    title = f"Fashion-MNIST: {int(labels):,} labels, {epochs} epochs, {seeds} seeds, 10,000 test images"
    draw_transfer(out / "transfer.png", summarize(rows, ""), rows, title=title)
    similarity = [
        MapSimilarity(
            row["first"],
            row["second"],
            int(row["first_layer"]),
            int(row["second_layer"]),
            int(row["head"]) if row["head"] else None,
            float(row["divergence"]),
            int(row["images"]),
        )
        for row in read_rows(folder / "similarity.csv")
    ]
    draw_layer_similarity(out / "similarity.png", similarity)


def _points(gain: Interval) -> str:
    return f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--figures", type=Path, help="draw the figures into this folder; no tables")
    args = parser.parse_args()
    results = args.results
    if args.figures:
        draw_figures(results / "fashion_40_epochs", args.figures)
        return
    for path in sorted(results.glob("*/transfer.csv")):
        rows = read_rows(path)
        print(f"{path.parent.name}\n\n{methods_table(rows)}\n{ensemble_line(rows)}")
    if (rates := results / "learning_rates.csv").exists():
        print(f"rates\n\n{rates_table(read_rows(rates))}")


if __name__ == "__main__":
    main()
