"""A training run of a second, as a script: ``python small_fit.py OUT ACCUMULATION [DIES_AT]``.

It fits a small network to 40 samples, writes its weights to ``OUT/weights.safetensors``, and kills its process when
sample number DIES_AT is read.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from vl_core.training import Shuffled, TrainingSettings, fit

SETTINGS = TrainingSettings(
    updates=15, batch_size=8, learning_rate=0.05, warmup=3, weight_decay=0.01, max_grad_norm=1.0, ema_decay=0.9
)


class Samples:
    """Forty vectors of six numbers, and their class: whether the first is positive."""

    def __init__(self, dies_at=None):
        self.read, self.dies_at = 0, dies_at

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.read += 1
        if self.read == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        x = torch.randn(6, generator=torch.Generator().manual_seed(index))
        return x, (x[0] > 0).long()


def network():
    """The same initial weights each time; dropout, so that a pass draws random numbers."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 2))


def loss(model, batch, number):
    """Cross-entropy."""
    x, label = batch
    return F.cross_entropy(model(x), label)


def main(out, accumulation, dies_at=None):
    """Train and write the weights."""
    from dataclasses import replace

    torch.set_num_threads(1)
    model = network()
    model[2].p = 0.0  # what two processes drop is not what two passes drop
    settings = replace(SETTINGS, accumulation=accumulation)
    fit(model, Shuffled(Samples(dies_at), 0), loss, settings, out, checkpoint_every=2, progress=False)
    if int(os.environ.get("RANK", 0)) == 0:
        save_file(model.state_dict(), Path(out) / "weights.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
