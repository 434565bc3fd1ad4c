"""The settings of `vl-attention pretrain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from vl_core.cli import Count, Groups, Range, RunPath, Seed, check_values
from vl_core.data import check_images, check_source

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

    image_size: Count = 28
    """Height and width that images are resized to, in pixels; a multiple of --patch."""

    channels: int = 1
    """1 for grayscale, 3 for color."""

    patch: Count = 4
    """Height and width of a patch, in pixels."""

    width: Count = 96
    """Embedding dimension."""

    depth: Count = 6
    """Number of blocks."""

    heads: Count = 4
    """Number of attention heads; must divide --width."""

    mask_ratio: Annotated[float, Range(above=0, below=1)] = 0.75
    """Fraction of the patches that are masked."""

    decoder_width: Count = 64
    """Embedding dimension of the decoder, which is discarded after training."""

    decoder_depth: Count = 1
    """Number of blocks of the decoder."""

    decoder_heads: Count = 4
    """Number of attention heads of the decoder; must divide --decoder-width."""

    seed: Seed = 0
    """Seed of the weights; --train.seed is that of the order of images."""

    train: TrainSettings = field(default_factory=recipes.small_images_pretrain)
    """Training settings."""

    out: RunPath = Path("vl-attention-pretrain")
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
        check_values(self)
        for large, small, whole, part in (
            ("--image-size", "--patch", self.image_size, self.patch),
            ("--width", "--heads", self.width, self.heads),
            ("--decoder-width", "--decoder-heads", self.decoder_width, self.decoder_heads),
        ):
            if whole % part:
                raise ValueError(f"{large} must be a multiple of {small}, got {whole} and {part}")
        patches = (self.image_size // self.patch) ** 2
        if not 0 < round(patches * (1 - self.mask_ratio)) < patches:
            raise ValueError(
                f"--mask-ratio must leave some of the {patches} patches visible and some masked, got {self.mask_ratio}"
            )
        if self.channels not in (1, 3):
            raise ValueError(f"--channels must be 1 (grayscale) or 3 (color), got {self.channels}")
        Range(above=0)("--train.base-learning-rate", self.train.base_learning_rate)
        Range(0)("--train.min-learning-rate", self.train.min_learning_rate)
        Range(0)("--train.workers", self.train.workers)
        check_update(self.train, "--train.", mixing=False)
        check_source(self.images, "images")

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        check_images([self.images], split=self.split, default_split="train", exclude=self.out, files=False)
