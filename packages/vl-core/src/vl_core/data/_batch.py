"""Several images in any of the forms in which they enter a public function, checked and stacked."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vl_core.data._tensor import image_to_tensor


def image_batch(images: Any) -> Tensor:
    """Images of one size as one tensor ``(B, C, H, W)`` in [0, 1].

    Args:
        images: A tensor ``(B, C, H, W)``; or one image, or a sequence of images (or of items of a data set, image and
            label), each as `image_to_tensor` takes it.

    Returns:
        A tensor of four dimensions as it is, with its dtype and device; otherwise float32 on the CPU.

    Raises:
        TypeError: If an image is of no known kind.
        ValueError: If there is no image, or one is NaN, out of range, of another size than the first, or neither gray
            nor RGB.

    Example:
        >>> image_batch([Image.new("L", (4, 3)), Image.new("L", (4, 3))]).shape
        torch.Size([2, 1, 3, 4])
    """
    if not (hasattr(images, "__len__") and hasattr(images, "__getitem__")) and not is_single_image(images):
        raise TypeError(f"images must be a tensor, an image or a sequence of images, got {type(images).__name__}")
    sequence = [images] if is_single_image(images) else images
    if not len(sequence):
        raise ValueError("images is empty; pass at least one image")
    checked = [checked_image(sequence[i], i) for i in range(len(sequence))]
    sizes = [tuple(image.shape) for image in checked]
    for i, size in enumerate(sizes):
        if size != sizes[0]:
            raise ValueError(f"images must have one size, got {size} for image {i} and {sizes[0]} for the first")
    return images if isinstance(images, Tensor) and images.ndim == 4 else torch.stack(checked)


def is_single_image(images: Any) -> bool:
    """Return whether this is one image: Pillow's, or an array or tensor of at most three dimensions."""
    return isinstance(images, Image.Image) or (hasattr(images, "ndim") and images.ndim <= 3)


def checked_image(image: Any, index: int) -> Tensor:
    """Return one image, or the image of a data set's item, as float32 ``(C, H, W)`` on the CPU.

    Raises:
        TypeError: As `image_to_tensor` does, with the image's index in front.
        ValueError: Likewise.
    """
    if isinstance(image, tuple) and image:
        image = image[0]
    try:
        return image_to_tensor(image).detach().cpu()
    except (TypeError, ValueError) as error:
        raise type(error)(f"image {index}: {error}") from error


def checked_ids(image_ids: Iterable[int], count: int | None) -> list[int]:
    """Return image ids as integers of 64 bits, one for each of ``count`` images, any number if it is None.

    Raises:
        TypeError: If an id is no integer.
        ValueError: If their number is another, or one does not fit into 64 signed bits.
    """
    image_ids = list(image_ids)
    if count is not None and len(image_ids) != count:
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
