"""A training run of a few seconds, as a script: ``python small_training.py OUT ACCUMULATION [DIES_AT]``.

It trains a tiny student on images of two colors, writes its weights to ``OUT/weights.safetensors``, and kills its
process when image number DIES_AT is read.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from vl_attention import AttentionTransfer
from vl_attention.training.settings import TrainSettings
from vl_attention.training.supervised import train

SIZE = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
SETTINGS = TrainSettings(
    epochs=4,
    warmup_epochs=1,
    batch_size=8,
    base_learning_rate=0.1,
    weight_decay=0.05,
    layer_decay=0.75,
    mixup=0.0,
    cutmix=0.0,
    ema_decay=0.9,
    precision="float32",
)


class Colors:
    """Forty noisy red or blue images, alternating."""

    def __init__(self, dies_at=None):
        self.reads, self.dies_at = 0, dies_at

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.reads += 1
        if self.reads == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        pixels = np.random.default_rng(index).integers(0, 120, (16, 16, 3), np.uint8)
        pixels[..., 2 * (index % 2)] += 130
        return Image.fromarray(pixels), index % 2


def transfer(mode="distill", **options):
    """A teacher and a student with the same weights each time."""
    torch.manual_seed(0)
    teacher = timm.create_model("vit_tiny_patch16_224", num_classes=0, **SIZE)
    return AttentionTransfer(teacher, mode=mode, num_classes=2, layers="all", seed=1, **options)


def main(out, accumulation, dies_at=None):
    """Train and write the weights."""
    from dataclasses import replace

    torch.set_num_threads(1)
    model = transfer()
    settings = replace(SETTINGS, accumulation=accumulation)
    train(model, Colors(dies_at), settings, out, num_classes=2, size=(16, 16), checkpoint_every=5, progress=False)
    if int(os.environ.get("RANK", 0)) == 0:
        save_file(model.state_dict(), Path(out) / "weights.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
