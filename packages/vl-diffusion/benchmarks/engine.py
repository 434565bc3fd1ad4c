"""Time of a classification beside that of its network alone, with the model that ships.

The same race is run over images twice in turn: as it is, with the time inside the network's own calls taken from
within. The ratio is wall time over that time::

    python packages/vl-diffusion/benchmarks/engine.py --out packages/vl-diffusion/benchmarks/engine.csv
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from vl_core.data import open_dataset
from vl_core.results import append_row, provenance
from vl_diffusion import DiffusionClassifier, Racing
from vl_diffusion.models.loading import load_denoiser


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--out", type=Path, help="append a row to this CSV file")
    args = parser.parse_args()
    data = open_dataset("fashion", split="test")
    images = [data[i][0] for i in np.linspace(0, len(data) - 1, args.images).round().astype(int)]
    denoiser: Any = load_denoiser("fashion", dtype=args.precision)
    forward, inside = denoiser.model.forward, [0.0]

    def timed(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        output = forward(*arguments, **named)
        inside[0] += time.perf_counter() - start
        return output

    denoiser.model.forward = timed
    classifier = DiffusionClassifier(denoiser, search=Racing(), batch_size=args.batch_size)
    classifier.classify(images[:2])
    ratios, seconds = [], []
    for _ in range(args.repeats):
        inside[0], start = 0.0, time.perf_counter()
        result = classifier.classify(images)
        wall = time.perf_counter() - start
        ratios.append(wall / inside[0])
        seconds.append(wall / len(images))
    low, median, high = np.quantile(ratios, [0.2, 0.5, 0.8])
    evaluations = result.total_evaluations.mean()
    print(f"{evaluations:.1f} evaluations and {np.median(seconds):.3f} s an image")
    print(f"wall time over network time {median:.3f} ({low:.3f} to {high:.3f})")
    if args.out:
        row = {
            "images": args.images,
            "batch_size": args.batch_size,
            "precision": args.precision,
            "evaluations_per_image": f"{evaluations:.1f}",
            "seconds_per_image": f"{np.median(seconds):.4f}",
            "wall_over_network": f"{median:.4f}",
            "quantile_20": f"{low:.4f}",
            "quantile_80": f"{high:.4f}",
        }
        append_row(args.out, row | provenance())


if __name__ == "__main__":
    main()
