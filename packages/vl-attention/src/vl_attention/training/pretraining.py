"""Pre-training of a teacher by masked autoencoding; labels are ignored."""

from __future__ import annotations

import os
from collections.abc import Sequence

from torch import Tensor, nn
from vl_core.training import fit

from vl_attention.models.masked_autoencoder import MaskedAutoencoder
from vl_attention.training.augmentation import AugmentedImages, Images
from vl_attention.training.identity import model_identity
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

    Metrics, every ``log_every`` updates: ``loss`` (squared error over masked patches) and ``learning_rate``. The
    settings for mixing, label smoothing and layer decay have no effect here.

    Args:
        model: The autoencoder; its ``student`` is the encoder, the future teacher.
        dataset: PIL images with labels, which are ignored.
        settings: Training settings.
        out: Folder of the run.
        size: Height and width that images are resized to.
        channels: 1 for grayscale, 3 for color.
        checkpoint_every: Maximum number of updates between checkpoints; one is written every minute in any case.
        log_every: Updates between rows of metrics.
        progress: Show a progress bar.

    Raises:
        ValueError: If there are no images, the batch size is not divisible, the loss or a weight is not finite, or the
            folder holds a run with other settings or another task, such as another mask ratio.
    """

    def loss(prepared: nn.Module, batch: Sequence[Tensor], number: int) -> Tensor:
        hidden: Tensor = prepared(batch[0]).float()
        return hidden

    task = {"num_visible": model.num_visible, "target_epsilon": model.target_epsilon}
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
            "model": {**model_identity(model), **task},
        },
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        progress=progress,
        description="pretrain",
        find_unused=True,
    )
