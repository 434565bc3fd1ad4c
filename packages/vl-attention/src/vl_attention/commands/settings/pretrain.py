"""The settings of `vl-attention pretrain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import tyro
from vl_core.cli import FolderPath, Groups, check_above, check_at_least
from vl_core.data import check_source

from vl_attention.commands._options import check_update
from vl_attention.training import recipes
from vl_attention.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Train a small ViT by masked autoencoding, as a teacher for `vl-attention train`; labels are ignored.

    By default: 10,000 Fashion-MNIST images, about three minutes on two cores. Rerun an interrupted command to resume.
    """

    images: tyro.conf.Positional[str] = "fashion"
    """An image folder, an .npz or .parquet file, or a built-in data set."""

    split: str | None = None
    """Split to use; default: train, if there are splits."""

    image_size: int = 28
    """Height and width that images are resized to, in pixels; a multiple of --patch."""

    channels: int = 1
    """1 for grayscale, 3 for color."""

    patch: int = 4
    """Height and width of a patch, in pixels."""

    width: int = 96
    """Embedding dimension."""

    depth: int = 6
    """Number of blocks."""

    heads: int = 4
    """Number of attention heads; must divide --width."""

    mask_ratio: float = 0.75
    """Fraction of the patches that are masked."""

    decoder_width: int = 64
    """Embedding dimension of the decoder, which is discarded after training."""

    decoder_depth: int = 1
    """Number of blocks of the decoder."""

    decoder_heads: int = 4
    """Number of attention heads of the decoder; must divide --decoder-width."""

    seed: int = 0
    """Seed of the weights; --train.seed is that of the order of images."""

    train: TrainSettings = field(default_factory=recipes.small_images_pretrain)
    """Training settings."""

    out: FolderPath = Path("vl-attention-pretrain")
    """Folder for the teacher (model/), the training run, and reconstructions.png."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "split", "image_size", "channels"),
        "Model": ("patch", "width", "depth", "heads", "mask_ratio", "decoder_width", "decoder_depth", "decoder_heads"),
        "Training": ("train",),
        "Output": ("out",),
        "Runtime": ("seed",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"spec": "images"}

    def check(self) -> None:
        """Check what needs neither the model nor the images.

        Raises:
            ValueError: If a number is out of range, or two do not fit.
            OSError: If the images are missing.
        """
        sizes = {"image-size": self.image_size, "patch": self.patch, "width": self.width}
        sizes |= {"depth": self.depth, "heads": self.heads, "decoder-width": self.decoder_width}
        sizes |= {"decoder-depth": self.decoder_depth, "decoder-heads": self.decoder_heads}
        if wrong := [name for name, value in sizes.items() if value < 1]:
            raise ValueError(f"--{wrong[0]} must be at least 1, got {sizes[wrong[0]]}")
        for small, large in (("patch", "image-size"), ("heads", "width"), ("decoder-heads", "decoder-width")):
            if sizes[large] % sizes[small]:
                raise ValueError(f"--{large} must be a multiple of --{small}, got {sizes[large]} and {sizes[small]}")
        if self.channels not in (1, 3):
            raise ValueError(f"--channels must be 1 (grayscale) or 3 (color), got {self.channels}")
        check_above("--train.base-learning-rate", self.train.base_learning_rate, 0)
        check_at_least("--train.min-learning-rate", self.train.min_learning_rate, 0)
        check_at_least("--train.workers", self.train.workers, 0)
        check_update(self.train, "--train.", mixing=False)
        check_source(self.images, "images")
