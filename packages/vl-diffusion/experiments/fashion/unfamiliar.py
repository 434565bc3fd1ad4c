"""Rate at which the demo warns of images unlike its training data, of clothing and of other things.

    python packages/vl-diffusion/experiments/fashion/unfamiliar.py

writes `packages/vl-diffusion/results/unfamiliar.csv`: a row per kind of image with the share that is warned of. There
are 1,000 references, training images as in the demo.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from vl_core.corruptions import corrupt
from vl_core.data import balanced_order, open_dataset
from vl_core.results import append_row, provenance
from vl_diffusion.demo._familiar import Familiarity

RESULTS = Path(__file__).resolve().parents[2] / "results/unfamiliar.csv"
REFERENCES = 1000


def kinds(count: int, seed: int) -> Iterator[tuple[str, Sequence[Any]]]:
    """Images of each kind."""
    clothes, emoji = open_dataset("fashion", split="test"), open_dataset("emoji")
    rng = np.random.default_rng(seed)
    shown: list[Image.Image] = [clothes[int(i)][0] for i in rng.permutation(len(clothes))[:count]]
    yield "held-out clothes", shown
    for name in ("gaussian_noise", "fog"):
        yield f"clothes, {name} at severity 5", list(corrupt(shown, name, 5, image_ids=range(len(shown))))
    yield "clothes upside down", [image.rotate(180) for image in shown]
    yield "clothes, inverted", [Image.fromarray(255 - np.asarray(image)) for image in shown]
    yield "emoji", [emoji[int(i)][0] for i in rng.permutation(len(emoji))[:count]]
    yield "uniform noise", [rng.integers(0, 256, (28, 28), np.uint8) for _ in range(count)]
    yield "evenly gray or white", [np.full((28, 28), value, np.uint8) for value in range(64, 256)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--count", type=int, default=500, help="images of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    clothes = open_dataset("fashion", split="train")
    references = [clothes[i][0] for i in balanced_order(clothes.labels.tolist())[:REFERENCES]]
    familiar = Familiarity(references, 28, 1)
    for kind, images in kinds(args.count, args.seed):
        warned = sum(not familiar.knows(image) for image in images)
        row = {"images_of": kind, "images": len(images), "warned": warned, "share": f"{warned / len(images):.4f}"}
        print(" ".join(f"{name}={value}" for name, value in row.items()))
        append_row(args.out, row | {"limit": f"{familiar.limit:.4f}", "seed": args.seed} | provenance())


if __name__ == "__main__":
    main()
