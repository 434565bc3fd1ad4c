"""Nearest-class-mean scores, a simple model for shortlists."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from vl_core.data import fit_image

from vl_diffusion.models.image_stream import READ_ERRORS
from vl_diffusion.models.images import to_tensor

_logger = logging.getLogger(__name__)

_SIZE = 32
_PER_CLASS = 200


def class_mean_logits(training: Any, images: Sequence[Any], classes: Sequence[str]) -> np.ndarray:
    """Negative squared distances to the mean training image of each class, in 32x32 grayscale.

    Args:
        training: A labeled data set with the same class names; up to 200 images per class are read, and those that
            cannot be read are passed over.
        images: The B images.
        classes: The K class names.

    Returns:
        float64 ``(B, K)``; larger is closer.

    Raises:
        ValueError: If a class has no training image that can be read.
    """
    names = np.array([training.classes[label] for label in training.labels])
    means = []
    for name in classes:
        members = islice(_readable(training, np.flatnonzero(names == name)), _PER_CLASS)
        if not (pixels := list(members)):
            raise ValueError(f"class {name!r} has no training image")
        means.append(np.mean(pixels, axis=0))
    centers = np.stack(means)
    return np.array([-((_pixels(image) - centers) ** 2).sum(1) for image in images])


def _readable(training: Any, members: np.ndarray) -> Iterator[np.ndarray]:
    """Pixels of these images, without those that cannot be read."""
    for index in members:
        try:
            image = training[int(index)][0]
        except READ_ERRORS as error:
            _logger.warning("a training image is passed over: %s", error)
            continue
        yield _pixels(image)


def _pixels(image: Any) -> np.ndarray:
    pixels: np.ndarray = fit_image(to_tensor(image), _SIZE, 1).flatten().to(torch.float64).numpy()
    return pixels
