"""Opening the images of a command, taking a balanced part of them, and resizing them for a model."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from vl_core.data import BUILTIN_NAMES, ImageDataset, balanced_order, open_dataset

from vl_attention.training.augmentation import PlainImages


def open_images(spec: str, split: str | None, *, default_split: str = "test", out: Path) -> ImageDataset:
    """Open a data set.

    Args:
        spec: A data set, as `vl_core.data.open_dataset` takes it.
        split: Split to use; default: ``default_split``, or the whole data set if it has no splits.
        default_split: Split to use if there are splits and ``split`` is None.
        out: Folder of results, which is left out of the images.

    Raises:
        FileNotFoundError: If the data set does not exist.
        ValueError: If the data set is not recognized, or has no such split or no image.
    """
    found = open_dataset(spec, split=split, default_split=default_split, exclude=out)
    if not len(found):
        raise ValueError(f"images must have at least one image, got none in {spec}")
    return found


def labeled(dataset: ImageDataset) -> ImageDataset:
    """Return the labeled images, and report the number of unlabeled ones on standard error.

    Raises:
        ValueError: If no image has a label.
    """
    known = [index for index, label in enumerate(dataset.labels.tolist()) if label >= 0]
    if not known:
        raise ValueError(
            f"no image of {dataset.name} has a label, so nothing can be measured; give a folder with a folder a "
            "class, or a set with labels"
        )
    if len(known) == len(dataset):
        return dataset
    missing = len(dataset) - len(known)
    print(f"{missing} of {len(dataset)} images of {dataset.name} have no label and are left out", file=sys.stderr)
    return dataset.subset(known)


def at_most(dataset: ImageDataset, limit: int | None) -> ImageDataset:
    """Return at most ``limit`` images, balanced over classes, in the order of the data set."""
    if limit is None or limit >= len(dataset):
        return dataset
    return dataset.subset(sorted(balanced_order(dataset.labels.tolist())[:limit]))


def tensors(dataset: ImageDataset, size: tuple[int, int], channels: int) -> tuple[Tensor, Tensor]:
    """Return images ``(N, channels, *size)`` in 0..1 and int64 labels ``(N,)``, resized as in training."""
    found = PlainImages(dataset, size, channels)
    images = torch.empty(len(found), channels, *size)
    for index in range(len(found)):
        images[index] = found[index][0]
    return images, torch.as_tensor(dataset.labels.copy())


def match_classes(name: str, classes: Sequence[str], count: int, dataset: ImageDataset) -> list[int]:
    """Return the indices of the logits of a data set's classes, in its order, followed by all other logits.

    Args:
        name: Name of the model.
        classes: Class names of the model's logits; empty if unknown, and then the data set's order is assumed.
        count: Number of logits.
        dataset: The data set.

    Raises:
        ValueError: If the data set has a class that the model does not know, or the numbers of classes differ.
    """
    if not classes:
        if count != len(dataset.classes):
            raise ValueError(
                f"{name} tells apart {count} classes, which it does not name, and {dataset.name} has "
                f"{len(dataset.classes)}; give images of the classes that it was trained on"
            )
        return list(range(count))
    if strangers := [one for one in dataset.classes if one not in classes]:
        some = ", ".join(map(repr, strangers[:3])) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        raise ValueError(
            f"{dataset.name} has {some}, which {name} does not know (it knows {', '.join(classes[:10])}"
            f"{', …' if len(classes) > 10 else ''}); give images of the classes that it was trained on"
        )
    wanted = [*dataset.classes, *(one for one in classes if one not in dataset.classes)]
    return [classes.index(one) for one in wanted]


def describe(spec: str, dataset: ImageDataset) -> dict[str, str]:
    """Return location, number and a digest of the names, classes and labels of images, which identify them."""
    place = spec if spec in BUILTIN_NAMES or spec.startswith("hf:") else str(Path(spec).resolve())
    shown = [place, *dataset.classes, *dataset.names, *map(str, dataset.labels.tolist())]
    text = "\0".join(shown).encode(errors="surrogateescape")
    return {"place": place, "images": str(len(dataset)), "sha256": hashlib.sha256(text).hexdigest()}
