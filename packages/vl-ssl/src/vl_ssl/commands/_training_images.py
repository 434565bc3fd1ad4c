"""Images of `vl-ssl train`: what is trained on, and labeled ones for k-NN."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from vl_core.data import ImageDataset, ImageError, balanced_order, fit_image, image_to_tensor, open_dataset
from vl_core.progress import progress_bar

from vl_ssl.commands.settings.train import BUILT_IN, Train
from vl_ssl.probes.images import ImageTensors, image_tensors

SMALL = 64
"""Largest height and width in pixels of images that are held in memory, and that views keep by default."""

_LARGE = 224  # pixels, of views of other images
_BUILT_IN_SIZE = 14  # pixels, which take a quarter of the time of 28
_BUILT_IN_COUNT = 3000


@dataclass(frozen=True)
class TrainingImages:
    """Images of a run."""

    images: Tensor | ImageDataset
    """Small images as a tensor ``(N, C, H, W)``, uint8; others as they are read from their files."""
    names: tuple[str, ...]
    """Identifiers of the images."""
    size: int
    """Height and width of the views."""
    channels: int
    """1 or 3."""
    bank: ImageTensors | None
    """Labeled images that k-NN stores; None without labels."""
    test: ImageTensors | None
    """Images that k-NN classifies."""


def open_training_images(settings: Train) -> TrainingImages:
    """Open what the settings name, and keep labeled images for k-NN where there are two classes.

    Raises:
        ValueError: If an image cannot be used, or there are fewer than two.
        OSError: If a file is missing or damaged.
    """
    dataset = _opened(settings, settings.split, "train")
    test, dataset = _kept_for_test(settings, dataset)
    limit = settings.limit or (_BUILT_IN_COUNT if settings.images == BUILT_IN else None)
    if limit is not None and limit < len(dataset):
        dataset = dataset.subset(sorted(balanced_order(dataset.labels.tolist())[:limit]))
    if len(dataset) < 2:
        raise ValueError(f"images of {settings.images} must be at least two for training, got {len(dataset)}")
    first: Image.Image = dataset[0][0]
    channels = (1 if first.mode == "L" else 3) if settings.channels == "auto" else int(settings.channels)
    size = settings.size or (_BUILT_IN_SIZE if settings.images == BUILT_IN else min(first.size))
    images: Tensor | ImageDataset | None = _in_memory(dataset, size, channels) if max(first.size) <= SMALL else None
    if images is None:
        images, size = dataset, settings.size or _LARGE
    bank = held_out = None
    if test is not None:
        bank = image_tensors(dataset, size=size, channels=channels, limit=settings.probe_limit)
        half = max(1, settings.probe_limit // 2)
        held_out = image_tensors(test, size=size, channels=channels, limit=half)
    return TrainingImages(images, tuple(dataset.names), size, channels, bank, held_out)


def _opened(settings: Train, split: str | None, default: str | None = None) -> ImageDataset:
    dataset = open_dataset(
        settings.images,
        split=split,
        default_split=default,
        exclude=settings.out,
        on_error="skip" if settings.skip_broken else "raise",
    )
    for name, reason in dataset.skipped[:5]:
        print(f"left out {name}: {reason}", file=sys.stderr)
    if len(dataset.skipped) > 5:
        print(f"left out {len(dataset.skipped)} in all", file=sys.stderr)
    return dataset


def _kept_for_test(settings: Train, dataset: ImageDataset) -> tuple[ImageDataset | None, ImageDataset]:
    """Images for k-NN to classify, of another split or taken out of this one; and those to train on."""
    if len(set(dataset.labels.tolist()) - {-1}) < 2:
        return None, dataset
    if settings.split in (None, "train"):
        for other in ("test", "val"):
            try:
                found = _opened(settings, other)
            except ValueError:
                continue
            if tuple(found.classes) == tuple(dataset.classes) and bool((torch.as_tensor(found.labels) >= 0).any()):
                return found, dataset
    order = balanced_order(dataset.labels.tolist())
    count = round(settings.test_share * len(dataset))
    rest = dataset.subset(sorted(order[count:]))
    if not count or len(set(rest.labels.tolist()) - {-1}) < 2:
        return None, dataset
    return dataset.subset(sorted(order[:count])), rest


def _in_memory(dataset: ImageDataset, size: int, channels: int) -> Tensor | None:
    """All images at the size of the views, resized and cropped to the center; None if one of them is not small."""
    pixels = torch.empty(len(dataset), channels, size, size, dtype=torch.uint8)
    for index in progress_bar(range(len(dataset)), desc="images", unit="image"):
        image: Image.Image = dataset[index][0]
        if max(image.size) > SMALL:
            return None
        try:
            fitted = fit_image(image_to_tensor(image), size, channels)
        except (TypeError, ValueError) as error:
            raise ImageError(f"image {dataset.names[index]} cannot be used: {error}") from error
        pixels[index] = (fitted * 255).round().to(torch.uint8)
    return pixels
