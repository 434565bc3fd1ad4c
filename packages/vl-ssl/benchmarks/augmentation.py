"""Measure two views of a batch on a CPU, computed at once and an image at a time by torchvision.

    python packages/vl-ssl/benchmarks/augmentation.py
    python packages/vl-ssl/benchmarks/augmentation.py --recipes byol --sizes 96 --channels 3 --out ""

Both ways make the same views, which is checked. They take turns, in one thread; seconds are those of the processor, and
ratios the medians of the ratios of one turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from vl_core.results import append_row, provenance, quantiles, timed_in_turns
from vl_ssl.augmentation.recipes import RECIPES

ROWS = Path(__file__).with_suffix(".csv")

Views = Callable[[], tuple[Tensor, Tensor]]


def ways(recipe: str, size: int, channels: int, batch: int) -> dict[str, Views]:
    """Both views of random images of the same size, by each way."""
    augmentation = RECIPES[recipe](size)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, channels, size, size, generator=generator)
    positions = torch.arange(batch)
    one_by_one = augmentation.per_image(0)

    def per_image() -> tuple[Tensor, Tensor]:
        first, second = zip(*(one_by_one(image, place) for place, image in enumerate(images)), strict=True)
        return torch.stack(first), torch.stack(second)

    return {"batched": lambda: augmentation.batched(images, positions, seed=0), "per_image": per_image}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=["small", "mocov2"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[28])
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default=str(ROWS), help="CSV file to append to; empty for none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = [(recipe, size, count) for recipe in args.recipes for size in args.sizes for count in args.channels]
    for recipe, size, channels in cases:
        found = ways(recipe, size, channels, args.batch)
        for first, second in zip(*(way() for way in found.values()), strict=True):
            if not torch.allclose(first, second, atol=1e-5):
                raise SystemExit(f"the ways disagree by {(first - second).abs().max():.1e}")
        load = os.getloadavg()[0]
        taken = timed_in_turns(found, args.rounds)
        for name in found:
            ratios = [other / own for own, other in zip(taken["batched"], taken[name], strict=True)]
            low, median, high = quantiles(taken[name])
            row = {
                "recipe": recipe,
                "size": size,
                "channels": channels,
                "way": name,
                "batch": args.batch,
                "views": 2 * args.batch,
                "rounds": args.rounds,
                "milliseconds": f"{1e3 * median:.1f}",
                "milliseconds_20": f"{1e3 * low:.1f}",
                "milliseconds_80": f"{1e3 * high:.1f}",
                "this_to_batched": f"{statistics.median(ratios):.1f}",
                "load_before": f"{load:.1f}",
            }
            print(row, flush=True)
            if args.out:
                append_row(args.out, {**row, **provenance()})


if __name__ == "__main__":
    main()
