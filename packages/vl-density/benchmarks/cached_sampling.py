r"""Time of samples with caches against two plain loops, as rows of `cached_sampling.csv`.

    python packages/vl-density/benchmarks/cached_sampling.py

16 images of 28 by 28 pixels, CPU seconds of one thread. The plain loop computes the whole network for each pixel; the
cropped one only the rows that the pixel depends on. Both are measured on a few pixels of rows spread over the image and
scaled to all 784; samples with caches are drawn whole. The three take turns, and medians are reported with their 20 and
80 % quantiles.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import process_time

import numpy as np
import torch
from vl_core.results import append_row, provenance
from vl_density import ImageTransformer, PixelCNN, PixelCNNPP
from vl_density.models.density import AutoregressiveDensity

COUNT, SIZE = 16, 28
ROWS = (0, 6, 13, 20, 27)
"""Rows of which a pixel is computed in the plain loops."""


def models() -> dict[str, tuple[AutoregressiveDensity, int]]:
    """Models by name, and how many rows above its own a pixel depends on."""
    torch.manual_seed(0)
    size = (SIZE, SIZE)
    return {
        "PixelCNN, 3.5 M weights": (PixelCNN(image_size=size, channels=1, width=128, layers=10), 11),
        "PixelCNN, as shipped": (
            PixelCNN(
                image_size=size,
                channels=1,
                width=32,
                layers=5,
                head="logistic-mixture",
                head_options={"components": 5},
            ),
            6,
        ),
        "PixelCNN++, 1.0 M weights": (PixelCNNPP(image_size=size, channels=1, width=32), SIZE),
        "transformer, 0.24 M weights": (ImageTransformer(image_size=size, channels=1, width=64, layers=4), SIZE),
    }


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = process_time()
    work()
    return process_time() - start


def loop(model: AutoregressiveDensity, above: int | None) -> float:
    """CPU seconds of all pixels, from one pixel in each of `ROWS`; None for the whole image each time."""
    pixels = torch.zeros(COUNT, 1, SIZE, SIZE, dtype=torch.long)
    total = 0.0
    for row in ROWS:
        first, last = (0, SIZE) if above is None else (max(0, row - above), row + 1)
        if above is not None and isinstance(model, PixelCNNPP):
            last = -(-last // 4) * 4  # its resolutions need four rows at a time
        total += seconds(partial(model.features, pixels[:, :, first:last]))
    return total * SIZE * SIZE / len(ROWS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every model in turns, and append rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name, (model, above) in models().items():
        model.eval()
        ways = {
            "cached": partial(seconds, partial(model.sample, COUNT)),
            "plain": partial(loop, model, None),
            "cropped": partial(loop, model, above),
        }
        ways["cached"]()  # warm up
        with torch.no_grad():
            turns = [{way: measure() for way, measure in ways.items()} for _ in range(given.repetitions)]
        found = {way: np.array([turn[way] for turn in turns]) for way in ways}
        row: dict[str, object] = {"model": name}
        for way, values in found.items():
            row[f"{way} seconds"] = round(float(np.median(values)), 3)
        for way in ("plain", "cropped"):
            ratios = found[way] / found["cached"]
            low, middle, high = np.quantile(ratios, [0.2, 0.5, 0.8])
            row |= {f"{way} / cached": f"{middle:.1f}", f"{way} low": f"{low:.1f}", f"{way} high": f"{high:.1f}"}
        print(row, flush=True)
        append_row(given.out, row | provenance())


if __name__ == "__main__":
    main()
