"""The function that applies one of the fifteen common corruptions to images."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vl_core.corruptions._functions import CORRUPTIONS, FUNCTIONS, SEVERITIES, Corruption
from vl_core.corruptions._strengths import PUBLISHED_SIZES, Strengths
from vl_core.data import checked_ids, image_batch
from vl_core.noise import make_keys

_SMALLEST = 8  # pixels a side: in fewer there is nothing to blur or to compress


def corrupt(
    images: Any,
    name: str,
    severity: int,
    *,
    seed: int = 0,
    image_ids: Sequence[int] | None = None,
    tuned_for: int | None = None,
) -> Tensor:
    """Corrupt images by one of fifteen common corruptions, at one of five severities.

    After Hendrycks & Dietterich (2019), "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv 1903.12261. Strengths are those that were published with ImageNet-C at 224 pixels, Tiny
    ImageNet-C at 64 and CIFAR-10-C at 32, interpolated for other sizes. The results are of the same kind as these data
    sets and not the same images: those were stored as JPEG files once more, frost is drawn here where they paste
    photographs, and strengths whose effect does not grow with the severity are replaced by ones that do: in frost,
    glass and elastic distortions, and in single values, each with a comment.

    Every random number is a function of ``seed``, the image's id and the name. So a result depends neither on the
    batch nor on its order, and the five versions of an image share their random numbers. Other versions of NumPy,
    SciPy or Pillow may give other images. Needs the extra ``vl-core[corruptions]``.

    Args:
        images: ``(B, C, H, W)`` in [0, 1], floating point, of one or three channels and at least 8 pixels a side; or
            one image or a sequence of images, all of one size, see `vl_core.data.image_batch`.
        name: One of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: 0 or more and below 2**31.
        image_ids: An integer (64 bits, signed) for each image; default: 0, 1, 2, ... To corrupt a data set in batches,
            pass the images' indices in it.
        tuned_for: Side in pixels of the images whose strengths are used, from 32 to 224; default: the shorter
            side of these images. Lengths are scaled to these images either way. On 28 pixels the default gives
            the mild noise of CIFAR-10-C, and 224 the strong one of ImageNet-C.

    Returns:
        ``(B, C, H, W)`` in [0, 1], of the dtype and device of ``images`` where that is such a tensor, otherwise float32
        on the CPU. No gradient goes through.

    Raises:
        TypeError: If an image is of no known kind, or the severity or an id is no integer.
        ValueError: If the name or the severity is unknown, if there is no image, if one is NaN, out of range, too
            small, of another size than the first, or neither gray nor RGB, or if another number is out of range.

    Example:
        >>> images = torch.full((2, 1, 32, 32), 0.5)
        >>> round(corrupt(images, "brightness", 5).mean().item(), 6)
        0.8
    """
    function = _function(name)
    checked_severity = _severity(severity)
    batch = image_batch(images)
    height, width = batch.shape[2:]
    if min(height, width) < _SMALLEST:
        raise ValueError(f"images must be at least {_SMALLEST} pixels a side, got {height}x{width}; enlarge them first")
    strengths = Strengths(checked_severity, min(height, width), _tuned_for(tuned_for))
    ids = range(len(batch)) if image_ids is None else checked_ids(image_ids, len(batch))
    keys = make_keys(seed, torch.tensor(list(ids)), CORRUPTIONS.index(name)).numpy().view(np.uint64)
    results = []
    for image, key in zip(batch.detach().to("cpu", torch.float64).numpy(), keys, strict=True):
        # One stream an image, whoever else is in the batch; Philox takes the package's noise keys as they are.
        rng = np.random.Generator(np.random.Philox(key=key))
        results.append(np.clip(function(image, strengths, rng), 0, 1))
    return torch.from_numpy(np.stack(results)).to(batch.device, batch.dtype)


def _function(name: str) -> Corruption:
    if name not in CORRUPTIONS:
        raise ValueError(f"name must be one of {', '.join(CORRUPTIONS)}, got {name!r}")
    return FUNCTIONS[CORRUPTIONS.index(name)]


def _severity(severity: int) -> int:
    try:
        number = operator.index(severity)
    except TypeError:
        raise TypeError(f"severity must be an integer, got {severity!r} of type {type(severity).__name__}") from None
    if number not in SEVERITIES:
        raise ValueError(f"severity must be one of 1, 2, 3, 4, 5, got {number}; without corruption, leave the call out")
    return number


def _tuned_for(side: int | None) -> int | None:
    low, high = PUBLISHED_SIZES[0], PUBLISHED_SIZES[-1]
    if side is not None and not low <= side <= high:
        raise ValueError(f"tuned_for must lie in {low} ... {high}, the sizes with published strengths, got {side}")
    return side
