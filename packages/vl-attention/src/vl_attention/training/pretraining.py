"""Pre-training of a teacher on images whose labels are not looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence

from torch import Tensor, nn
from vl_core.training import fit

from vl_attention.models.masked_autoencoder import MaskedAutoencoder
from vl_attention.training.augmentation import AugmentedImages, Images
from vl_attention.training.identity import identity
from vl_attention.training.parameters import adamw
from vl_attention.training.settings import TrainSettings


def pretrain(
    model: MaskedAutoencoder,
    dataset: Images,
    settings: TrainSettings,
    out: str | os.PathLike[str],
    *,
    size: tuple[int, int],
    channels: int = 3,
    checkpoint_every: int = 500,
    log_every: int = 50,
    progress: bool = True,
) -> None:
    """Train a masked autoencoder in place; rerun with the same arguments to resume.

    Metrics, every ``log_every`` updates: ``loss`` (squared error over hidden patches) and ``learning_rate``. Of the
    settings, those of mixing, of label smoothing and of the decay over blocks do not matter here.

    Args:
        model: The autoencoder; its ``student`` is the encoder, the teacher to be.
        dataset: PIL images with labels, which are not used.
        settings: How to train.
        out: Folder of the run.
        size: Height and width that images are brought to.
        channels: 1 for grayscale, 3 for color.
        checkpoint_every: The most updates between checkpoints; there is one a minute in any case.
        log_every: Updates between rows of metrics.
        progress: Whether a bar is shown.

    Raises:
        ValueError: If there are no images, an update is not divisible, the loss or a weight is not finite, or the
            folder's run had other settings or another task, such as another share of hidden patches.
    """

    def loss(prepared: nn.Module, batch: Sequence[Tensor], number: int) -> Tensor:
        hidden: Tensor = prepared(batch[0]).float()
        return hidden

    task = {"seen": model.seen, "target_epsilon": model.target_epsilon}
    if not len(dataset):
        raise ValueError("images must hold at least one image")
    if settings.compile:
        model.compile_blocks()
    fit(
        model,
        AugmentedImages(dataset, settings, size, channels, model.student_normalization.mean),
        loss,
        settings.loop(len(dataset)),
        out,
        optimizer=adamw(model, settings, layer_decay=1.0),
        config={
            **settings.config(),
            "images": len(dataset),
            "size": list(size),
            "channels": channels,
            "model": {**identity(model), **task},
        },
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        progress=progress,
        description="pretrain",
        find_unused=True,
    )
