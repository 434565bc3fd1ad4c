"""Images at every position of a run, and the two views of each, made in the workers or on the device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from vl_core.data import image_to_tensor

from vl_ssl.augmentation.batched import float_images
from vl_ssl.probes.images import check_range
from vl_ssl.schedules.schedule import Samples, Schedule

Views: TypeAlias = tuple[Tensor, Tensor]

_DEEP = ("I", "I;16", "F")  # gray with more than a byte a pixel


class PairAugmentation(Protocol):
    """Two views of each image, a function of the seed and the image's position in the run."""

    def per_image(self, seed: int) -> Callable[[Any, int], Views]:
        """Return a function from an image (PIL or tensor) and its position to two views ``(C, H, W)``."""
        ...

    def batched(self, images: Tensor, positions: Tensor, *, seed: int) -> Views:
        """Return two views ``(B, C, H, W)`` of images ``(B, C, H, W)``, uint8 or in [0, 1], on their device."""
        ...


class ImagesInOrder(Dataset[Any]):
    """Images in the order of a schedule, with their positions; or their two views.

    Args:
        dataset: Tensor ``(N, C, H, W)``, uint8 or floating point in [0, 1]; or images by index, alone or with a label:
            PIL, tensors ``(C, H, W)``, or arrays, see `vl_core.data.image_to_tensor`.
        schedule: Says which image each position shows.
        channels: 1 or 3 converts PIL images to gray or color; None takes the kind of the first image.
        make_views: From an image and its position to its views; None leaves that to the device, which gets tensors,
            of images by index always floating point, since those of a batch may be of different depth.

    Raises:
        TypeError: If the data set gives something other than images, alone or first in a tuple.
        ValueError: If the tensor has another shape, type or range, or the schedule is for another number of images; of
            images by index, the range is checked when one is read.
    """

    def __init__(
        self,
        dataset: Tensor | Samples,
        schedule: Schedule,
        *,
        channels: int | None = None,
        make_views: Callable[[Any, int], Views] | None = None,
    ):
        if isinstance(dataset, Tensor):
            _check_tensor(dataset)
        if len(dataset) < 2:
            raise ValueError(f"dataset must hold at least two images, got {len(dataset)}; batch statistics need two")
        if len(dataset) != schedule.size:
            raise ValueError(f"schedule must be for the {len(dataset)} images of the data set, got {schedule.size}")
        self._dataset, self._schedule, self._make_views = dataset, schedule, make_views
        self._mode: str | None = None
        if not isinstance(dataset, Tensor):
            first = image_of(dataset[0])
            if isinstance(first, Image.Image):
                gray = first.mode in ("1", "L", *_DEEP) if channels is None else channels == 1
                self._mode = "L" if gray else "RGB"

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        index = self._schedule.index(position)
        image = image_of(self._dataset[index])
        if isinstance(image, Image.Image) and image.mode in _DEEP:
            # `convert` would clip them to a byte.
            image = image_to_tensor(image)[:1].expand(1 if self._mode == "L" else 3, -1, -1)
        elif isinstance(image, Image.Image) and image.mode != self._mode:
            image = image.convert(self._mode)
        # Those in memory have been checked.
        if isinstance(image, Tensor) and not isinstance(self._dataset, Tensor):
            check_range(image, f"image {index} of the data set")
        if self._make_views is not None:
            return self._make_views(image, position)
        if not isinstance(self._dataset, Tensor):
            image = image_to_tensor(image) if isinstance(image, Image.Image) else float_images(image)
        return image, torch.tensor(position)


def images_digest(dataset: Any) -> str:
    """16 hexadecimal digits by which a run knows its images again: of pixels in memory, or else of names and number."""
    total = hashlib.sha256(f"{len(dataset)}".encode())
    if isinstance(dataset, Tensor):
        total.update(f"{tuple(dataset.shape)} {dataset.dtype}".encode())
        total.update(dataset.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    else:
        total.update(repr(tuple(getattr(dataset, "names", ()))).encode())
    return total.hexdigest()[:16]


def image_of(item: Any) -> Any:
    """The image of a data set's item, which may have a label beside it: PIL, or a tensor, which arrays become.

    Raises:
        TypeError: If it is something else.
        ValueError: If it is an array of another shape or type than images have.
    """
    image = item[0] if isinstance(item, tuple | list) and len(item) else item
    if not isinstance(image, Image.Image | Tensor | np.ndarray):
        got = f"a dictionary of {', '.join(map(str, image))}" if isinstance(image, Mapping) else type(image).__name__
        raise TypeError(
            "dataset must give PIL images or tensors (C, H, W), alone or first in a tuple such as (image, label), got "
            f"{got}; wrap it in a data set that returns the image"
        )
    return image_to_tensor(image) if isinstance(image, np.ndarray) else image


def _check_tensor(images: Tensor) -> None:
    if images.ndim != 4 or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise ValueError(
            f"dataset must be a tensor (N, C, H, W), uint8 or floating point in [0, 1], got {images.dtype} "
            f"{tuple(images.shape)}"
        )
    check_range(images, "dataset")
