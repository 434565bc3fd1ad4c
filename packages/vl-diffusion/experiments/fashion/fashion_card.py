"""Evaluate the Fashion-MNIST model that ships, and draw samples of it, for its card.

After `vl-diffusion classify fashion --split test --search staged --out runs/heldout`::

    python packages/vl-diffusion/experiments/fashion/fashion_card.py --results runs/heldout/classify.csv

appends a row to `packages/vl-diffusion/benchmarks/fashion_heldout.csv`, prints the card's table (the baseline's rows
are read from `fashion_baseline.csv` beside it), and writes `samples.png` into the model's folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, DiTTransformer2DModel
from PIL import Image
from vl_core.results import append_row, markdown_table, provenance, read_rows, wilson_interval

PACKAGE = Path(__file__).resolve().parents[2]
MODEL = PACKAGE / "src/vl_diffusion/pretrained/fashion"
CLASSIFIED_BY = "vl-diffusion classify fashion --split test --search staged --out runs/heldout"
BENCHMARKS = PACKAGE / "benchmarks"


def summarize(rows: Sequence[dict[str, str]]) -> dict[str, object]:
    """Accuracy in per cent with its 95 % interval, the worst class, and evaluations per image, from `classify.csv`."""
    right = np.array([row["true"] == row["predicted"] for row in rows])
    truth = np.array([row["true"] for row in rows])
    of_class = {str(name): 100 * right[truth == name].mean() for name in np.unique(truth)}
    worst = min(of_class, key=lambda name: of_class[name])
    low, high = wilson_interval(int(right.sum()), len(right))
    return {
        "images": len(right),
        "correct": int(right.sum()),
        "accuracy": f"{100 * right.mean():.2f}",
        "low": f"{100 * low:.2f}",
        "high": f"{100 * high:.2f}",
        "worst_class": worst,
        "worst_class_accuracy": f"{of_class[worst]:.2f}",
        "evaluations_per_image": f"{np.mean([int(row['evaluations']) for row in rows]):.0f}",
    }


def card_table(measured: dict[str, object], baseline: Sequence[dict[str, str]]) -> str:
    """Return the card's table of classifiers."""
    ours = f"this model, {measured['evaluations_per_image']} evaluations per image"
    named: list[tuple[str, Mapping[str, object]]] = [
        (ours, measured),
        *((f"CNN `{row['model']}`, seed {row['seed']}", row) for row in baseline),
    ]
    accuracy, interval = "held-out accuracy", "95 % interval"
    rows = [
        {"classifier": name, accuracy: f"{row['accuracy']} %", interval: f"{row['low']} to {row['high']} %"}
        for name, row in named
    ]
    return markdown_table(rows, ["classifier", accuracy, interval])


@torch.no_grad()
def draw_samples(path: Path, *, rows: int = 6, steps: int = 50, scale: int = 3, seed: int = 0) -> None:
    """Draw a grid of samples, a column per class, by DDIM without guidance."""
    model = DiTTransformer2DModel.from_pretrained(MODEL).float().eval()
    scheduler = DDIMScheduler.from_pretrained(MODEL)
    scheduler.set_timesteps(steps)
    classes = int(model.config.num_embeds_ada_norm)
    label = torch.arange(classes).repeat(rows)
    images = torch.randn(len(label), 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    for step in scheduler.timesteps:
        noise = model(images, timestep=step.expand(len(label)), class_labels=label).sample
        images = scheduler.step(noise, step, images).prev_sample
    pixels = images.add(1).mul(127.5).round().clamp(0, 255).byte().numpy()
    grid = pixels.reshape(rows, classes, 28, 28).swapaxes(1, 2).reshape(rows * 28, classes * 28)
    Image.fromarray(grid).resize((classes * 28 * scale, rows * 28 * scale), Image.Resampling.NEAREST).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("runs/heldout/classify.csv"))
    parser.add_argument("--classified-by", default=CLASSIFIED_BY)
    args = parser.parse_args()
    if not args.results.is_file():
        sys.exit(f"{args.results} is missing; make it with `{args.classified_by}`")
    measured = summarize(read_rows(args.results))
    append_row(BENCHMARKS / "fashion_heldout.csv", measured | provenance() | {"classified_by": args.classified_by})
    print(card_table(measured, read_rows(BENCHMARKS / "fashion_baseline.csv")), end="")
    draw_samples(MODEL / "samples.png")


if __name__ == "__main__":
    main()
