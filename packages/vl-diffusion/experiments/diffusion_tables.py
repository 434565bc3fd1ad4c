"""Make the tables of docs/results.md from the rows of vl-diffusion's results.

A classifier's row holds its data, number of classes and accuracy; a search's row, as `vl-diffusion compare-search`
writes it, its accuracy and cost on the same images as the other searches::

    python packages/vl-diffusion/experiments/diffusion_tables.py

prints one Markdown table of `packages/vl-diffusion/results/search.csv`, and one of all files there that hold
classifiers' rows. The figure of the searches is drawn from the same rows by

    python packages/vl-diffusion/experiments/diffusion_tables.py --figure packages/vl-diffusion/docs/search.png
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from vl_core.results import markdown_table, read_rows, wilson_interval
from vl_diffusion.charts.searches import draw_comparison

RESULTS = Path(__file__).resolve().parents[1] / "results"
COLUMNS = ("model", "images", "accuracy", "low", "high", "evaluations_per_image")
"""Columns of every classifier's row; a file may hold more."""


def classifier_row(
    *,
    data: str,
    model: str,
    seed: int,
    truth: Sequence[int],
    predicted: Sequence[int],
    classes: int,
    evaluations_per_image: float,
) -> dict[str, object]:
    """Return one classifier's row, without its provenance.

    Accuracy, its 95 % Wilson interval (`low`, `high`) and the mean of the classes' accuracies are in per cent.

    Args:
        data: Name of the test data.
        model: Name of the classifier.
        seed: Seed of its training or, where there is none, of its evaluation.
        truth: Class of each image, in ``0 ... classes - 1``.
        predicted: Predicted class of each image.
        classes: Number of candidates.
        evaluations_per_image: Calls of the network for one image, on average.
    """
    true, right = np.asarray(truth), np.asarray(truth) == np.asarray(predicted)
    low, high = wilson_interval(int(right.sum()), len(right))
    return {
        "data": data,
        "model": model,
        "seed": seed,
        "images": len(right),
        "classes": classes,
        "correct": int(right.sum()),
        "accuracy": f"{100 * right.mean():.2f}",
        "low": f"{100 * low:.2f}",
        "high": f"{100 * high:.2f}",
        "class_accuracy": f"{100 * np.mean([right[true == one].mean() for one in np.unique(true)]):.2f}",
        "evaluations_per_image": f"{evaluations_per_image:.0f}",
    }


def table(rows: Iterable[Mapping[str, str]]) -> str:
    """Return a Markdown table of classifiers' rows in the order given; missing values are left blank.

    Text-conditional models have `candidates`, drawn with `candidate_seed`, where others have `classes` and `seed`.
    """
    lines = [
        {
            "data": row.get("data", ""),
            "classifier": row["model"],
            "seed": row.get("seed") or row.get("candidate_seed", ""),
            "images": row["images"],
            "classes": row.get("classes") or row.get("candidates", ""),
            "accuracy": f"{row['accuracy']} %",
            "95 % interval": f"{row['low']} to {row['high']} %",
            "mean per class": f"{row['class_accuracy']} %" if row.get("class_accuracy") else "",
            "evaluations per image": row["evaluations_per_image"],
        }
        for row in rows
    ]
    header = ["data", "classifier", "seed", "images", "classes", "accuracy", "95 % interval", "mean per class"]
    return markdown_table(lines, [*header, "evaluations per image"])


def search_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return a Markdown table of searches, with 95 % Wilson intervals in per cent."""
    lines = []
    for row in rows:
        images = int(row["images"])
        shares = {name: float(row[name]) for name in ("accuracy", "agreement")}
        low, high = wilson_interval(round(shares["accuracy"] * images), images)
        lines.append(
            {
                "search": row["search"],
                "evaluations per image": f"{float(row['evaluations_per_image']):,.0f}",
                "accuracy": f"{100 * shares['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})",
                "agreement with exhaustive search": f"{100 * shares['agreement']:.1f} %",
                "CPU seconds per image": f"{float(row['cpu_seconds']):.2f}",
            }
        )
    return markdown_table(lines, list(lines[0]))


def read_results(folder: Path) -> list[dict[str, str]]:
    """Read the classifiers' rows of all files in a folder; files without their columns are skipped.

    A row that does not name its data is named after its file.
    """
    found = [{"data": path.stem} | row for path in sorted(folder.glob("*.csv")) for row in read_rows(path)]
    return [row for row in found if row.keys() >= set(COLUMNS)]


def draw_searches(rows: Iterable[Mapping[str, str]], path: Path) -> None:
    """Draw the searches' cost, accuracy and agreement."""
    numbers = ("accuracy", "agreement", "evaluations_per_image")
    draw_comparison(
        path,
        [
            SimpleNamespace(
                search=row["search"], images=int(row["images"]), **{name: float(row[name]) for name in numbers}
            )
            for row in rows
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--figure", type=Path, help="write this PNG file of the searches; no tables")
    args = parser.parse_args()
    folder = args.results
    if args.figure:
        draw_searches(read_rows(folder / "search.csv"), args.figure)
        return
    if (searches := folder / "search.csv").is_file():
        print(search_table(read_rows(searches)))
    print(table(read_results(folder)), end="")


if __name__ == "__main__":
    main()
