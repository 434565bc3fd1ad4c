"""`vl-attention pretrain`: pre-train a teacher on unlabeled images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
import tyro
from vl_core.cli import note_on_interruption
from vl_core.data import ImageDataset, balanced_order
from vl_core.runs import RunFolder
from vl_core.runs.processes import current_process

from vl_attention.charts.reconstructions import draw_reconstructions
from vl_attention.classifiers.saved_models import save_model
from vl_attention.commands._images import describe, open_images, tensors
from vl_attention.commands._options import RESUME, check_above_zero, check_at_least, check_update
from vl_attention.models.masked_autoencoder import MaskedAutoencoder
from vl_attention.models.normalization import Normalization
from vl_attention.training import recipes
from vl_attention.training.pretraining import pretrain
from vl_attention.training.settings import TrainSettings

_SHOWN = 8  # images


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

    out: Path = Path("vl-attention-pretrain")
    """Folder for the teacher (model/), the training run, and reconstructions.png."""


def run(settings: Pretrain) -> None:
    """Train or resume, and write the teacher and its reconstructions.

    Raises:
        ValueError: If an argument or an image is invalid, or the folder holds a teacher with other settings.
        OSError: If a file is missing or cannot be read.
    """
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
    sizes = {"image-size": settings.image_size, "patch": settings.patch, "width": settings.width}
    sizes |= {"depth": settings.depth, "heads": settings.heads, "decoder-width": settings.decoder_width}
    sizes |= {"decoder-depth": settings.decoder_depth, "decoder-heads": settings.decoder_heads}
    if wrong := [name for name, value in sizes.items() if value < 1]:
        raise ValueError(f"--{wrong[0]} must be at least 1, got {sizes[wrong[0]]}")
    for small, large in (("patch", "image-size"), ("heads", "width"), ("decoder-heads", "decoder-width")):
        if sizes[large] % sizes[small]:
            raise ValueError(f"--{large} must be a multiple of --{small}, got {sizes[large]} and {sizes[small]}")
    if settings.channels not in (1, 3):
        raise ValueError(f"--channels must be 1 (grayscale) or 3 (color), got {settings.channels}")
    check_above_zero("--train.base-learning-rate", settings.train.base_learning_rate)
    check_at_least("--train.min-learning-rate", settings.train.min_learning_rate, 0)
    check_at_least("--train.workers", settings.train.workers, 0)
    check_update(settings.train, "--train.", mixing=False)
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
