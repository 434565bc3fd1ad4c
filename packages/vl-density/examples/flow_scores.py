"""Scores out of the distribution from a normalizing flow of zuko, beside those of vl-density's own densities.

    pip install vl-density zuko
    python packages/vl-density/examples/flow_scores.py

A flow is a density of real numbers: images are dequantized, and bits per dimension know of it. Whatever gives a
log-density becomes a score by one class. Clothes are made 7 by 7 pixels small, so that the flow is trained in a minute.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
import vl_density
import zuko
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from vl_core.progress import progress_bar
from vl_density.datasets.outside import open_fashion, open_outside

LEVELS = 256


def log_density(flow: Any, x: Tensor) -> Tensor:
    """Log-density ``(B,)`` of values ``(B, D)`` in (0, 1), nats: the flow's at their logits, with the Jacobian."""
    x = 0.005 + 0.99 * x  # away from 0 and 1, where logits are infinite
    jacobian = np.log(0.99) - torch.log(x) - torch.log1p(-x)
    found: Tensor = flow().log_prob(torch.logit(x)) + jacobian.sum(1)
    return found


class FlowLikelihood(vl_density.OODScore):
    """Negative log-density under a flow, nats: the mean over dequantized copies of an image."""

    def __init__(self, flow: Any, copies: int = 4):
        self.flow, self.copies = flow, copies

    @torch.no_grad()
    def compute(self, images: Tensor) -> NDArray[np.float64]:
        """Scores ``(B,)``; the noise has a seed of its own."""
        generator = torch.Generator().manual_seed(0)
        copies = [vl_density.dequantize(images, LEVELS, generator=generator) for _ in range(self.copies)]
        found = torch.stack([-log_density(self.flow, copy.flatten(1)) for copy in copies]).mean(0)
        return found.double().numpy()


def train_flow(images: Tensor, updates: int, seed: int = 0) -> Any:
    """Masked autoregressive flow, fitted to images by maximum likelihood."""
    torch.manual_seed(seed)
    flow = zuko.flows.MAF(images[0].numel(), transforms=3, hidden_features=(128, 128))
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
    for _ in progress_bar(range(updates), desc="training", unit="updates"):
        batch = vl_density.dequantize(images[torch.randint(len(images), (128,))], LEVELS)
        loss = -log_density(flow, batch.flatten(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return flow


def main() -> None:
    """Train the flow, and print its bits and AUROC on images outside."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--size", type=int, default=7, help="height and width of the images")
    given = parser.parse_args()

    def small(images: Tensor) -> Tensor:
        return vl_density.quantize(F.adaptive_avg_pool2d(images, given.size).clamp(0, 1), LEVELS)

    score = FlowLikelihood(train_flow(small(open_fashion("train")), given.updates))
    inside = score.score(small(open_fashion("test")[:400]))
    bits = vl_density.bits_per_dim(torch.tensor(-inside), given.size**2, dequantized_levels=LEVELS)
    print(f"{bits.mean():.2f} bits per dimension of test images, at most")
    for name in ("digits", "strokes", "flips", "shirts"):
        found = vl_density.bootstrap(vl_density.auroc, inside, score.score(small(open_outside(name)[:400])))
        print(f"{name}: AUROC {found.estimate:.3f} ({found.low:.3f} to {found.high:.3f})")


if __name__ == "__main__":
    main()
