"""`vl-attention pretrain`: a teacher from pictures without labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import timm
import torch
import tyro
from vl_core.data import open_dataset

from vl_attention import recipes
from vl_attention.masked_autoencoder import MaskedAutoencoder
from vl_attention.normalization import Normalization
from vl_attention.saved_models import save_model
from vl_attention.training.pretraining import pretrain
from vl_attention.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Train a small ViT by masked autoencoding, as a teacher for `vl-attention train`; labels are not looked at.

    Without arguments: 10,000 pictures of clothes, some two minutes on two cores. An interrupted command goes on where
    it stopped.
    """

    images: tyro.conf.Positional[str] = "fashion"
    """An image folder, an .npz or .parquet file, or the name of a built-in set."""

    split: str | None = None
    """Which of its splits; default: train, where it is divided into splits."""

    image_size: int = 28
    """Height and width that pictures are brought to, in pixels; a multiple of the patch."""

    channels: int = 1
    """1 for greyscale, 3 for colour."""

    patch: int = 4
    """Height and width of a patch, in pixels."""

    width: int = 96
    """Channels of a token."""

    depth: int = 6
    """Blocks."""

    heads: int = 4
    """Of attention; must divide the width."""

    mask_ratio: float = 0.75
    """Share of the patches that are hidden."""

    decoder_width: int = 64
    """Channels of a token in the decoder, which is not kept."""

    decoder_depth: int = 1
    """Its blocks."""

    decoder_heads: int = 4
    """Its heads; must divide its width."""

    seed: int = 0
    """Of the weights; that of the pictures' order is --train.seed."""

    train: TrainSettings = field(default_factory=recipes.small_teacher)
    """How it is trained."""

    out: Path = Path("vl-attention-pretrain")
    """Folder for the teacher (model/), the run, and reconstructions.png."""


def run(settings: Pretrain) -> None:
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
    normalization = Normalization((0.5,) * settings.channels, (0.5,) * settings.channels)
    model = MaskedAutoencoder(
        encoder,
        mask_ratio=settings.mask_ratio,
        decoder_width=settings.decoder_width,
        decoder_depth=settings.decoder_depth,
        decoder_heads=settings.decoder_heads,
        normalization=normalization,
    )
    pictures = open_dataset(settings.images, split=settings.split or "train")
    size = settings.image_size, settings.image_size
    pretrain(model, pictures, settings.train, settings.out / "training", size=size, channels=settings.channels)
    save_model(encoder, settings.out / "model", normalization=normalization)
