"""Search the peak learning rate of each transfer method on held-out training images.

    python packages/vl-attention/experiments/transfer/search_transfer_rates.py --compile

A student from scratch, one with copied attention, one with distilled attention and the fine-tuned teacher are trained
on the labels of vl-attention's study (the built-in Fashion-MNIST images, without 200 held out per class) and evaluated
on the held-out images. A row per method, learning rate and seed goes to
`packages/vl-attention/results/learning_rates.csv`; rows in the file are not computed again: rerun to resume, with the
runs in `--work`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from vl_attention.classifiers.saved_models import load_model
from vl_attention.comparison.compare import compare
from vl_attention.comparison.methods import METHODS, Method, method_of
from vl_attention.comparison.subsets import stratified_indices
from vl_core.data import ImageDataset, open_dataset
from vl_core.results import append_row, provenance, read_rows

ROWS = Path(__file__).resolve().parents[2] / "results/learning_rates.csv"
RECIPE = "small_images"


def held_out_split(images: ImageDataset, count: int) -> tuple[ImageDataset, ImageDataset]:
    """Split into images to train on and ``count`` held-out ones, equally many per class; always the same."""
    chosen = stratified_indices(images.labels.tolist(), count, seed=12345)
    rest = np.setdiff1d(np.arange(len(images)), chosen)
    return images.subset(rest), images.subset(chosen)


def with_peak_rate(method: Method, rate: float) -> Method:
    """Return the method with another peak learning rate."""
    settings = method.settings
    base = settings.base_learning_rate * rate / settings.learning_rate
    return replace(method, settings=replace(settings, base_learning_rate=base))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["scratch", "copy", "distill", "fine-tune"])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3, 4e-3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--labels", type=int, default=2000)
    parser.add_argument("--held-out", type=int, default=2000)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--work", type=Path, default=Path("rates"), help="folder of the runs")
    args = parser.parse_args()
    teacher = load_model("fashion_teacher")
    train_set, held_out = held_out_split(open_dataset("fashion", split="train"), args.held_out)
    for seed, name, rate in product(args.seeds, args.methods, args.rates):
        key = {"method": name, "rate": f"{rate:g}", "seed": str(seed)}
        found = read_rows(args.rows) if args.rows.exists() else []
        if any(row.items() >= key.items() for row in found):
            continue
        rows = compare(
            teacher,
            train_set,
            held_out,
            [with_peak_rate(method_of(RECIPE, name, compile=args.compile), rate)],
            args.work / f"{name}-{rate:g}",
            labels=args.labels,
            seeds=[seed],
            size=(28, 28),
            channels=1,
        )
        row = next(row for row in rows if row["seed"] == str(seed))
        sizes = {"epochs": row["epochs"], "labels": row["labels"], "held_out": len(held_out)}
        append_row(args.rows, {**key, **sizes, "accuracy": row["accuracy"], **provenance()})


if __name__ == "__main__":
    main()
