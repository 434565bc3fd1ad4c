"""`vl-attention pretrain`: pre-train a teacher on unlabeled images."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import timm
import torch
from vl_core.cli import note_on_interruption
from vl_core.data import ImageDataset, balanced_order
from vl_core.runs import RunFolder
from vl_core.runs.processes import current_process

from vl_attention.charts.reconstructions import draw_reconstructions
from vl_attention.classifiers.saved_models import save_model
from vl_attention.commands._images import describe, open_images, tensors
from vl_attention.commands._options import RESUME
from vl_attention.commands.settings.pretrain import Pretrain
from vl_attention.models.masked_autoencoder import MaskedAutoencoder
from vl_attention.models.normalization import Normalization
from vl_attention.training.pretraining import pretrain

_SHOWN = 8  # images


def run(settings: Pretrain) -> None:
    """Train or resume, and write the teacher and its reconstructions.

    Raises:
        ValueError: If an argument or an image is invalid, or the folder holds a teacher with other settings.
        OSError: If a file is missing or cannot be read.
    """
    settings.check()
    model = _model(settings)
    dataset = open_images(settings.images, settings.split, default_split="train", out=settings.out)
    if current_process().is_main:
        _open_folder(settings, dataset)
    size = settings.image_size, settings.image_size
    with note_on_interruption(RESUME):
        pretrain(model, dataset, settings.train, settings.out / "training", size=size, channels=settings.channels)
    if not current_process().is_main:
        return
    encoder: Any = model.student
    save_model(encoder.cpu(), settings.out / "model", normalization=model.student_normalization)
    shown = balanced_order(dataset.labels.tolist())[:_SHOWN]
    images, _ = tensors(dataset.subset(shown), size, settings.channels)
    draw_reconstructions(settings.out / "reconstructions.png", images, *model.cpu().reconstruct(images))
    print(f"wrote the teacher to {settings.out / 'model'}, and reconstructions.png to {settings.out}")


def _open_folder(settings: Pretrain, dataset: ImageDataset) -> None:
    """Create the folder, or check that it holds a run with the same model, images and settings."""
    config = asdict(settings)
    for name in ("out", "images", "split"):
        config.pop(name)
    for name in ("workers", "compile"):
        config["train"].pop(name)
    RunFolder(settings.out, {**config, "images": describe(settings.images, dataset)}).close()


def _model(settings: Pretrain) -> MaskedAutoencoder:
    torch.manual_seed(settings.seed)
    encoder = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=settings.image_size,
        patch_size=settings.patch,
        in_chans=settings.channels,
        embed_dim=settings.width,
        depth=settings.depth,
        num_heads=settings.heads,
        num_classes=0,
        class_token=False,
        global_pool="avg",
    )
    return MaskedAutoencoder(
        encoder,
        mask_ratio=settings.mask_ratio,
        decoder_width=settings.decoder_width,
        decoder_depth=settings.decoder_depth,
        decoder_heads=settings.decoder_heads,
        normalization=Normalization((0.5,) * settings.channels, (0.5,) * settings.channels),
    )
