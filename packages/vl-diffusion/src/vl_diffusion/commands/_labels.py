"""Labeled images for the commands that compare predictions with them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from vl_core.runs.processes import current_process

from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.commands._running import Task, drop_unknown_labels, make_task
from vl_diffusion.commands._settings import ClassifierSettings, build_classifier
from vl_diffusion.runs.image_collection import ImageCollection, gather


@dataclass(frozen=True, kw_only=True)
class LabeledSettings(ClassifierSettings):
    """Settings of a classifier and of the labeled images for it."""

    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Image folders with one subfolder per class, .npz or .parquet files, or names of built-in data sets."""

    out: Path
    """Folder for the results."""

    limit: int | None = None
    """Maximum number of images, balanced over classes; a larger limit includes them."""

    split: str | None = None
    """Split of the data sets."""

    bins: int = 15
    """Number of bins of the calibration error."""


def prepare(settings: LabeledSettings, *, default_split: str) -> tuple[DiffusionClassifier, ImageCollection, Task]:
    """Build the classifier, and gather the labeled images and the task of classifying them.

    Args:
        settings: The settings.
        default_split: Split of data sets that have splits, unless the settings name one.

    Raises:
        ValueError: If a setting or an image is invalid, or no image has a label.
    """
    if settings.limit is not None and settings.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {settings.limit}")
    if settings.bins < 1:
        raise ValueError(f"--bins must be at least 1, got {settings.bins}")
    images = settings.images or ("fashion",)
    limit = settings.limit or (None if settings.images else 100)
    given = gather(images, split=settings.split, default_split=default_split, at_most=limit, exclude=settings.out)
    given = labeled(given)
    classifier = build_classifier(settings, given.classes)
    collection = with_truth(drop_unknown_labels(given, classifier.classes))
    split = settings.split or default_split
    return classifier, collection, make_task(settings, settings.out, classifier, collection, images, split, ("bins",))


def labeled(collection: ImageCollection) -> ImageCollection:
    """Return the images that come with a label, and count the others on standard error.

    Raises:
        ValueError: If no image has one.
    """
    known = with_truth(collection)
    if len(known) < len(collection) and current_process().is_main:
        left_out = len(collection) - len(known)
        print(f"{left_out} of {len(collection)} images have no label and are left out", file=sys.stderr)
    return known


def with_truth(collection: ImageCollection) -> ImageCollection:
    """Return the images whose class is known.

    Raises:
        ValueError: If there are none.
    """
    known = [image for image in collection.entries if image.truth is not None]
    if not known:
        raise ValueError("no image has a label that is one of the classes; give folders named like the classes")
    return ImageCollection(known)


def labels_of(collection: ImageCollection, classes: tuple[str, ...]) -> np.ndarray:
    """Index of each image's class, int64 ``(B,)``."""
    return np.array([classes.index(image.truth or "") for image in collection.entries], np.int64)
