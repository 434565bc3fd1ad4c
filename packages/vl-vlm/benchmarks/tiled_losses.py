"""Measure time and memory of the tiled losses on a CPU, compared with losses that store the matrix of logits.

    python packages/vl-vlm/benchmarks/tiled_losses.py
    python packages/vl-vlm/benchmarks/tiled_losses.py --batch 4096 --tile 256 512 1024 --out ""

Forward and backward of float32 features of unit length at scale 100, gradients of both features and of the scale. The
two dense forms of InfoNCE are one product that serves both directions, and two products, one a direction. Where
open_clip is installed, its own losses take part. The ways take turns; ratios are the medians of the ratios of one turn.
Memory is the rise of a fresh process's peak (Linux).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from vl_core.results import append_row, memory_rise, provenance, timed_in_turns
from vl_vlm import info_nce, sigmoid_loss

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
ROWS = Path(__file__).with_suffix(".csv")


def one_product(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE from one matrix of logits, read by rows and by columns."""
    logits = scale * images @ texts.T
    positive = logits.diagonal()
    return (logits.logsumexp(dim=1) + logits.logsumexp(dim=0) - 2 * positive).mean() / 2


def two_products(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE from one matrix of logits a direction."""
    truth = torch.arange(len(images))
    by_image = F.cross_entropy(scale * images @ texts.T, truth)
    return (by_image + F.cross_entropy(scale * texts @ images.T, truth)) / 2


def dense_sigmoid(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Sigmoid loss from one matrix of logits, with a bias of -10."""
    signs = 2 * torch.eye(len(images)) - 1
    return -F.logsigmoid(signs * (scale * images @ texts.T - 10)).sum() / len(images)


def ways(loss: str, tile: int) -> dict[str, Loss]:
    """The tiled form and the dense forms of a loss, and open_clip's if it is installed."""
    if loss == "sigmoid":
        found: dict[str, Loss] = {
            "tiled": lambda x, t, s: sigmoid_loss(x, t, s, -10.0, tile=tile),
            "one_product": dense_sigmoid,
        }
    else:
        found = {
            "tiled": lambda x, t, s: info_nce(x, t, s, tile=tile),
            "one_product": one_product,
            "two_products": two_products,
        }
    if importlib.util.find_spec("open_clip") is not None:
        from open_clip.loss import ClipLoss, SigLipLoss

        theirs = ClipLoss() if loss == "info_nce" else SigLipLoss()
        bias = () if loss == "info_nce" else (torch.tensor(-10.0),)
        found[f"open_clip {version('open_clip_torch')}"] = lambda x, t, s: theirs(x, t, s, *bias)
    return found


def features(batch: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random images and texts of unit length, in which no pair stands out, and the scale."""
    generator = torch.Generator().manual_seed(0)
    both = F.normalize(torch.randn(2, batch, width, generator=generator), dim=-1)
    images, texts = (part.clone().requires_grad_() for part in both)
    return images, texts, torch.tensor(100.0, requires_grad=True)


def step(loss: Loss, tensors: tuple[Tensor, Tensor, Tensor]) -> float:
    """Forward and backward; returns the loss."""
    value = loss(*tensors)
    value.backward()
    for tensor in tensors:
        tensor.grad = None
    return value.item()


def one_step(loss: str, name: str, batch: int, width: int, tile: int, threads: int) -> Callable[[], float]:
    """Return a step whose inputs are there."""
    torch.set_num_threads(threads)
    way = ways(loss, tile)[name]
    step(way, features(64, width))  # what libraries allocate for themselves at the first call
    return partial(step, way, features(batch, width))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", nargs="+", choices=["info_nce", "sigmoid"], default=["info_nce", "sigmoid"])
    parser.add_argument("--batch", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--tile", type=int, nargs="+", default=[512])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", default=str(ROWS), help="CSV file to append to; empty for none")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cases = [(loss, batch, tile) for loss in args.losses for batch in args.batch for tile in args.tile]
    for loss, batch, tile in cases:
        found, tensors = ways(loss, tile), features(batch, args.width)
        values = {name: step(way, tensors) for name, way in found.items()}
        if max(values.values()) - min(values.values()) > 1e-4 * abs(values["tiled"]):
            raise SystemExit(f"the ways disagree: {values}")
        load = os.getloadavg()[0]
        steps = {name: partial(step, way, tensors) for name, way in found.items()}
        taken = timed_in_turns(steps, args.rounds, clock=time.perf_counter)
        for name in found:
            rise = memory_rise(one_step, loss, name, batch, args.width, tile, args.threads)
            ratios = [tiled / other for tiled, other in zip(taken["tiled"], taken[name], strict=True)]
            row = {
                "loss": loss,
                "way": name,
                "batch": batch,
                "width": args.width,
                "tile": tile if name == "tiled" else "",
                "threads": args.threads,
                "rounds": args.rounds,
                "seconds": f"{statistics.median(taken[name]):.3f}",
                "tiled_to_this": f"{statistics.median(ratios):.3f}",
                "peak_rise_mebibytes": f"{rise:.1f}",
                "load_before": f"{load:.1f}",
            }
            print(row, flush=True)
            if args.out:
                append_row(args.out, {**row, **provenance()})


if __name__ == "__main__":
    main()
