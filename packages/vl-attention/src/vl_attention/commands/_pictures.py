"""The pictures that a command was given: opened, a part of each class chosen, and brought to a model's size."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from vl_core.data import BUILTIN_NAMES, ImageDataset, UndividedError, open_dataset

from vl_attention.training.augmentation import PlainPictures


def open_pictures(spec: str, split: str | None, *, default_split: str = "test", out: Path) -> ImageDataset:
    """Open a data set.

    Args:
        spec: As `vl_core.data.open_dataset` takes it.
        split: Which of its splits; default: ``default_split``, and all of it where it is not divided.
        default_split: See there.
        out: A folder that results are written to, which holds no pictures.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not understood, or has no such split or no picture.
    """
    try:
        found = open_dataset(spec, split=split or default_split, exclude=out)
    except UndividedError:
        if split is not None:
            raise
        found = open_dataset(spec, exclude=out)
    if not len(found):
        raise ValueError(f"images must have at least one picture, got none in {spec}")
    return found


def labelled(pictures: ImageDataset) -> ImageDataset:
    """Those that come with a label; a line on standard error counts the others.

    Raises:
        ValueError: If there is none.
    """
    known = [index for index, label in enumerate(pictures.labels.tolist()) if label >= 0]
    if not known:
        raise ValueError(
            f"no picture of {pictures.name} has a label, so nothing can be measured; give a folder with a folder a "
            "class, or a set with labels"
        )
    if len(known) == len(pictures):
        return pictures
    missing = len(pictures) - len(known)
    print(f"{missing} of {len(pictures)} pictures of {pictures.name} have no label and are left out", file=sys.stderr)
    return pictures.subset(known)


def balanced_order(labels: Sequence[int]) -> list[int]:
    """Places in an order of which every beginning holds all classes in proportion; the same each time.

    Evenly spaced places would not do: data sets are often sorted so that every tenth picture is of the same class.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).tolist()
    members: dict[int, list[int]] = {}
    for place in shuffled:
        members.setdefault(int(labels[place]), []).append(place)
    share = {place: (rank + 0.5) / len(own) for own in members.values() for rank, place in enumerate(own)}
    return sorted(shuffled, key=lambda place: share[place])


def at_most(pictures: ImageDataset, limit: int | None) -> ImageDataset:
    """At most so many pictures, all classes in proportion, in the order of the set."""
    if limit is None or limit >= len(pictures):
        return pictures
    return pictures.subset(sorted(balanced_order(pictures.labels.tolist())[:limit]))


def tensors(pictures: ImageDataset, size: tuple[int, int], channels: int) -> tuple[Tensor, Tensor]:
    """Pictures ``(N, channels, *size)`` in 0..1 and int64 labels ``(N,)``, as training and its answers see them."""
    found = PlainPictures(pictures, size, channels)
    images = torch.empty(len(found), channels, *size)
    for index in range(len(found)):
        images[index] = found[index][0]
    return images, torch.as_tensor(pictures.labels.copy())


def match_classes(name: str, classes: Sequence[str], count: int, pictures: ImageDataset) -> list[int]:
    """Which logits stand for the classes of a data set, in its order; those that it lacks follow.

    Args:
        name: Of the model.
        classes: Names of its logits; none where they are not known, and then they are taken to be in the set's order.
        count: How many there are.
        pictures: The data set.

    Raises:
        ValueError: If the set has a class that the model does not know, or the numbers differ.
    """
    if not classes:
        if count != len(pictures.classes):
            raise ValueError(
                f"{name} tells apart {count} classes, which it does not name, and {pictures.name} has "
                f"{len(pictures.classes)}; give pictures of the classes that it was trained on"
            )
        return list(range(count))
    if strangers := [one for one in pictures.classes if one not in classes]:
        some = ", ".join(map(repr, strangers[:3])) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        raise ValueError(
            f"{pictures.name} has {some}, which {name} does not know (it knows {', '.join(classes[:10])}"
            f"{', …' if len(classes) > 10 else ''}); give pictures of the classes that it was trained on"
        )
    wanted = [*pictures.classes, *(one for one in classes if one not in pictures.classes)]
    return [classes.index(one) for one in wanted]


def describe(spec: str, pictures: ImageDataset) -> dict[str, str]:
    """What tells these pictures from others: where they are, which they are, and what they show."""
    place = spec if spec in BUILTIN_NAMES or spec.startswith("hf:") else str(Path(spec).resolve())
    shown = [place, *pictures.classes, *pictures.names, *map(str, pictures.labels.tolist())]
    text = "\0".join(shown).encode(errors="surrogateescape")
    return {"place": place, "pictures": str(len(pictures)), "sha256": hashlib.sha256(text).hexdigest()}
