"""Measure the Fashion-MNIST model that ships, and draw samples of it: what its card says.

After `vl-diffusion classify fashion --split test --out runs/heldout`::

    python tools/fashion_card.py --results runs/heldout/classify.csv

appends a row to `packages/vl-diffusion/benchmarks/fashion_heldout.csv`, prints the card's table (the yardstick's rows
are read from `fashion_yardstick.csv` beside it), and writes `samples.png` into the model's folder.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from diffusers import DDIMScheduler, DiTTransformer2DModel
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "packages/vl-diffusion/src/vl_diffusion/pretrained/fashion"
BENCHMARKS = ROOT / "packages/vl-diffusion/benchmarks"


def wilson(correct: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a share, in per cent."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = correct / total, z * ((correct * (total - correct) / total + z * z / 4) ** 0.5) / total
    middle = share + z * z / (2 * total)
    low, high = ((middle + sign * spread) / (1 + z * z / total) * 100 for sign in (-1, 1))
    return low, high


def summarise(rows: Iterable[dict[str, str]]) -> dict[str, object]:
    """Accuracy with its interval, mean accuracy of the classes, and evaluations an image, from `classify.csv`."""
    rows = list(rows)
    right = np.array([row["true"] == row["predicted"] for row in rows])
    truth = np.array([row["true"] for row in rows])
    low, high = wilson(int(right.sum()), len(right))
    return {
        "images": len(right),
        "correct": int(right.sum()),
        "accuracy": f"{100 * right.mean():.2f}",
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
        "mean_per_class": f"{100 * np.mean([right[truth == name].mean() for name in np.unique(truth)]):.2f}",
        "worst_class": min(np.unique(truth), key=lambda name: right[truth == name].mean()),
        "evaluations_per_image": f"{np.mean([int(row['evaluations']) for row in rows]):.0f}",
    }


@torch.no_grad()
def draw_samples(path: Path, *, rows: int = 6, steps: int = 50, scale: int = 3, seed: int = 0) -> None:
    """A grid of samples, a column a class, by DDIM without guidance."""
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
    parser.add_argument("--command", default="vl-diffusion classify fashion --split test --out runs/heldout")
    args = parser.parse_args()
    if not args.results.is_file():
        sys.exit(f"{args.results} is missing; make it with `{args.command}`")
    with args.results.open(newline="") as file:
        row = summarise(csv.DictReader(file))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    row |= {"torch": torch.__version__, "commit": commit, "command": args.command}
    path = BENCHMARKS / "fashion_heldout.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print("| classifier | held-out accuracy (95 % interval) |\n| --- | --- |")
    print(f"| this model, {row['evaluations_per_image']} evaluations an image | {row['accuracy']} % ", end="")
    print(f"({row['low']} to {row['high']}) |")
    if (BENCHMARKS / "fashion_yardstick.csv").is_file():
        with (BENCHMARKS / "fashion_yardstick.csv").open(newline="") as file:
            for other in csv.DictReader(file):
                interval = f"{other['accuracy']} % ({other['low']} to {other['high']})"
                print(f"| {other['model']}, seed {other['seed']} | {interval} |")
    draw_samples(MODEL / "samples.png")


if __name__ == "__main__":
    main()
