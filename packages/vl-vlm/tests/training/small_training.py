"""A training run of seconds, as a script: ``python small_training.py OUT [SUB_BATCH [DIES_AT]]``.

It trains a small dual encoder on 24 scenes, writes its weights to ``OUT/weights.safetensors``, and kills its process
when image number DIES_AT is read.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from vl_vlm import ContrastiveSettings, make_scenes, small_dual_encoder, train_dual_encoder

SETTINGS = ContrastiveSettings(updates=9, batch_size=8, learning_rate=3e-3, warmup=2, weight_decay=0.1, seed=3)
SCENES = make_scenes(24, size=16)


class Deadly:
    """Images of a data set, until one kills the process."""

    def __init__(self, images, dies_at):
        self._images, self._read, self._dies_at = images, 0, dies_at

    def __len__(self):
        return len(self._images)

    def __getitem__(self, index):
        self._read += 1
        if self._read == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._images[index]


def model(loss="info_nce"):
    """The same initial weights each time."""
    torch.manual_seed(0)
    captions = [caption for own in SCENES.captions for caption in own]
    return small_dual_encoder(captions, image_size=16, width=32, depth=1, text_depth=1, dim=16, loss=loss)


def main(out, sub_batch=0, dies_at=None, loss="info_nce"):
    """Train, write the weights and return them."""
    torch.set_num_threads(1)
    trained = model(loss)
    dataset = SCENES.subset(range(24))
    if dies_at:
        dataset._images = Deadly(dataset._images, dies_at)
    settings = replace(SETTINGS, sub_batch=sub_batch)
    train_dual_encoder(trained, dataset, settings, out, checkpoint_every=2, log_every=3, progress=False)
    weights = {name: value.clone() for name, value in trained.state_dict().items()}
    if int(os.environ.get("RANK", 0)) == 0:
        save_file(weights, Path(out) / "weights.safetensors")
    return weights


def similarity(weights):
    """Cosines of the scenes with their first captions, for these weights."""
    trained = model("sigmoid" if "logit_bias" in weights else "info_nce")
    trained.load_state_dict(weights)
    return trained.similarity([item.image for item in SCENES], [item.captions[0] for item in SCENES])


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
