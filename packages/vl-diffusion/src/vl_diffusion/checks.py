"""Checks of the classifier's arguments: each error says what was expected and what came."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from vl_diffusion.models.images import to_tensor
from vl_diffusion.scoring.aggregation import Aggregation
from vl_diffusion.search import LabelTree, Search


def checked_classes(classes: Sequence[str] | None) -> tuple[str, ...]:
    """Class names as a row, or an error if they are missing, too few, blank, repeated or no strings."""
    if classes is None:
        raise ValueError("classes is missing, and the model does not name its own; pass the class names")
    if isinstance(classes, str):
        raise ValueError(f"classes must be a sequence of names, got the single string {classes!r}")
    names = tuple(classes)
    if strangers := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"classes must be strings, got {strangers[0]!r} of type {type(strangers[0]).__name__}")
    if len(names) < 2:
        raise ValueError(f"classes must hold at least two names to choose between, got {len(names)}: {list(names)}")
    if blank := [i for i, name in enumerate(names) if not name.strip()]:
        raise ValueError(f"classes must not be blank, but entries {blank} are")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"classes must all differ, got {', '.join(map(repr, repeated))} more than once")
    return names


def checked_search(search: Search) -> Search:
    """The search, or a TypeError if it is none."""
    # The class itself has the members, too, and no settings.
    members = ("num_draws", "budget", "requests")
    if isinstance(search, type) or not all(hasattr(search, name) for name in members):
        raise TypeError(f"search must be a search, such as Staged() or Exhaustive(), got {search!r}")
    return search


def check_scores(search: Search, aggregation: Aggregation) -> None:
    """Raise ValueError if the search would compare votes or z-scores that were not made among the same classes.

    A label tree asks for the errors of a draw in parts, as it comes to need them.
    """
    if aggregation == "mean":
        return
    if isinstance(search, LabelTree):
        raise ValueError(f"aggregation must be 'mean' for a LabelTree, which asks in parts, got {aggregation!r}")
    if (inner := getattr(search, "inner", None)) is not None:
        check_scores(inner, aggregation)


def checked_ids(image_ids: Sequence[int], count: int) -> list[int]:
    """Ids as integers of 64 bits, one an image."""
    if len(image_ids) != count:
        raise ValueError(f"image_ids needs one entry for each of the {count} images, got {len(image_ids)}")
    ids = []
    for given in image_ids:
        try:
            ids.append(operator.index(given))
        except TypeError:
            raise TypeError(f"image_ids must be integers, got {given!r} of type {type(given).__name__}") from None
        if not -(2**63) <= ids[-1] < 2**63:
            raise ValueError(f"image_ids must fit into 64 bits, signed, got {given}; a hash can be cut with % 2**63")
    return ids


def is_single(images: Any) -> bool:
    """Whether this is one image: Pillow's, or an array or tensor of at most three dimensions."""
    return isinstance(images, Image.Image) or (hasattr(images, "ndim") and images.ndim <= 3)


def checked_image(image: Any, index: int) -> Tensor:
    """The image as a tensor; an error says which image it is about."""
    if isinstance(image, tuple) and image:
        # An item of a data set: the image and its label.
        image = image[0]
    try:
        return to_tensor(image)
    except (TypeError, ValueError) as error:
        raise type(error)(f"image {index}: {error}") from error


def checked_logits(logits: Any, images: int, classes: int) -> np.ndarray:
    """Scores of another model, float64 ``(images, classes)``."""
    values = np.asarray(logits.detach().cpu() if isinstance(logits, Tensor) else logits, np.float64)
    if values.shape != (images, classes):
        raise ValueError(f"logits must have shape ({images}, {classes}), images by classes, got {values.shape}")
    if np.isnan(values).any():
        raise ValueError(f"logits must be numbers, got NaN for image {int(np.isnan(values).any(1).argmax())}")
    return values


def checked_integer(name: str, value: Any) -> int:
    """The value as an integer, or a TypeError that names it."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}") from None


def checked_settings(*, batch_size: int, temperature: float, seed: int) -> None:
    """Raise TypeError if a setting is no number, and ValueError if it is out of range."""
    if checked_integer("batch_size", batch_size) < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    try:
        positive = temperature > 0
    except TypeError:
        kind = type(temperature).__name__
        raise TypeError(f"temperature must be a number, got {temperature!r} of type {kind}") from None
    if not positive:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if not 0 <= checked_integer("seed", seed) < 2**31:
        raise ValueError(f"seed must be in 0 ... 2**31 - 1, got {seed}")
