"""Labeled images for the commands that compare predictions with them."""

from __future__ import annotations

import sys

import numpy as np
from vl_core.runs.processes import current_process

from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.commands._classifier import build_classifier
from vl_diffusion.commands._running import Task, drop_unknown_labels, make_task
from vl_diffusion.commands.settings.labeled import LabeledSettings
from vl_diffusion.runs.image_collection import ImageCollection, gather


def prepare(settings: LabeledSettings, *, default_split: str) -> tuple[DiffusionClassifier, Task]:
    """Build the classifier, and gather the task of classifying the labeled images.

    Args:
        settings: The settings.
        default_split: Split of data sets that have splits, unless the settings name one.

    Raises:
        ValueError: If a setting or an image is invalid, or no image has a label.
    """
    settings.check()
    images = settings.images or ("fashion",)
    limit = settings.limit or (None if settings.images else 100)
    given = gather(images, split=settings.split, default_split=default_split, at_most=limit, exclude=settings.out)
    given = labeled(given)
    classifier = build_classifier(settings, given.classes)
    collection = with_truth(drop_unknown_labels(given, classifier.classes))
    split = settings.split or default_split
    return classifier, make_task(settings, settings.out, classifier, collection, images, split, ("bins",))


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
