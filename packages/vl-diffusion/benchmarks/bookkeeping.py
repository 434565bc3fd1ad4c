"""CPU time that the search's bookkeeping takes when the network costs nothing.

A stub answers at once on a 1x4x4 latent with 1,000 classes, in the paper's ImageNet stages and in a race. What is left
is choosing classes, laying out batches, making noise and reducing errors::

    python packages/vl-diffusion/benchmarks/bookkeeping.py --out packages/vl-diffusion/benchmarks/bookkeeping.csv
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from vl_core.results import append_row, provenance
from vl_diffusion import DiffusionClassifier, NoiseSchedule, Racing, Staged

CLASSES = 1000
STAGES = (50, 100, 500, 1000), (500, 50, 10, 1)
SEARCHES = {
    "literal": Staged(*STAGES, "literal"),
    "nested": Staged(*STAGES),
    "racing": Racing(),
    "racing, empirical Bernstein": Racing(bound="bernstein"),
}


class Free:
    """A denoiser that returns its input."""

    image_size, image_channels = 4, 1
    class_names = tuple(f"class {i}" for i in range(CLASSES))
    device = torch.device("cpu")
    schedule = NoiseSchedule.from_config({"beta_schedule": "linear"})

    def encode_images(self, images: Tensor) -> Tensor:
        return images * 2 - 1

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        return torch.arange(len(classes)) / len(classes)

    def predict(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        return x_t * condition.view(-1, 1, 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--out", type=Path, help="append a row to this CSV file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = torch.rand(args.images, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for name, search in SEARCHES.items():
        classifier = DiffusionClassifier(Free(), search=search, batch_size=args.batch_size)
        classifier.classify(images[:1])
        seconds = []
        for _ in range(args.repeats):
            start = time.process_time()
            result = classifier.classify(images)
            seconds.append((time.process_time() - start) / args.images)
        low, median, high = np.quantile(seconds, [0.2, 0.5, 0.8])
        evaluations = int(result.evaluations.sum()) // args.images
        print(f"{name:27} {evaluations:7,} evaluations, {median:.3f} s of CPU an image ({low:.3f} to {high:.3f})")
        if args.out:
            row = {
                "search": name,
                "classes": CLASSES,
                "evaluations_per_image": evaluations,
                "images": args.images,
                "batch_size": args.batch_size,
                "cpu_seconds_per_image": f"{median:.4f}",
                "quantile_20": f"{low:.4f}",
                "quantile_80": f"{high:.4f}",
            }
            append_row(args.out, row | provenance())


if __name__ == "__main__":
    main()
