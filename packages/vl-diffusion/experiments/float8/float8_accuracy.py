"""Accuracy of a shipped model for one way of storing its weights: a row of `results/float8/accuracy.csv`.

    python packages/vl-diffusion/experiments/float8/float8_accuracy.py emoji --model FOLDER --stored float16
    vl-diffusion classify fashion --model FOLDER --split test --search staged --batch-size 128 --out runs/heldout
    python packages/vl-diffusion/experiments/float8/float8_accuracy.py fashion --run runs/heldout --stored float16

The emoji model classifies 500 images of the held-out style with the settings of its card; the fashion model's answers
are read from the folder that `classify` wrote.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vl_core.results import append_row, provenance, read_rows, wilson_interval

EXPERIMENTS = Path(__file__).resolve().parents[1]
sys.path += [str(EXPERIMENTS), str(EXPERIMENTS / "emoji")]

from emoji_card import MODEL, measure, named_by_denoising, open_model  # noqa: E402

TABLE = EXPERIMENTS.parent / "results/float8/accuracy.csv"


def emoji_counts(model: Path, images: int) -> tuple[int, int]:
    """Correct answers of the emoji pipeline in ``model`` and the number of images, at the card's first seed."""
    pipeline = open_model(model)
    row = measure(
        "emoji",
        lambda tested, choices: named_by_denoising(pipeline, tested, choices, draws=12, time_range=(0.58, 0.99)),
        images=images,
        candidate_seed=0,
        parameters=0,
        draws=12,
    )
    return int(str(row["correct"])), int(str(row["images"]))


def fashion_counts(run: Path) -> tuple[int, int]:
    """Correct answers and images of a folder that `vl-diffusion classify` wrote."""
    rows = read_rows(run / "classify.csv")
    return sum(row["predicted"] == row["true"] for row in rows), len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["emoji", "fashion"])
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of the emoji pipeline")
    parser.add_argument("--run", type=Path, help="folder that `classify` wrote for the fashion model")
    parser.add_argument("--stored", required=True, help="dtype of the stored matrices")
    parser.add_argument("--images", type=int, default=500, help="emoji images to classify")
    args = parser.parse_args()
    if args.name == "fashion" and args.run is None:
        parser.error("fashion needs --run, the folder that `vl-diffusion classify` wrote")
    correct, images = emoji_counts(args.model, args.images) if args.name == "emoji" else fashion_counts(args.run)
    low, high = wilson_interval(correct, images)
    row = {"model": args.name, "stored": args.stored, "images": images, "correct": correct}
    row |= {key: f"{100 * value:.2f}" for key, value in (("accuracy", correct / images), ("low", low), ("high", high))}
    append_row(TABLE, row | provenance())
    print(f"{args.name} in {args.stored}: {correct} of {images} correct, {row['accuracy']} %")


if __name__ == "__main__":
    main()
