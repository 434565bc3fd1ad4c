"""One image after another, from anything that holds images: sequences, data sets, data loaders, rows and generators."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset
from vl_core.data import checked_image, read_image

# Columns of images in rows of Hugging Face data sets and of WebDataset shards; else, the only one that holds images.
_COLUMNS = ("image", "img", "pixel_values", "jpg", "jpeg", "png", "webp")

OnError = Callable[[int, Exception], object]
"""Called with the index and the error of an image that cannot be read."""

READ_ERRORS = (OSError, TypeError, ValueError)
"""Errors that mean that one image cannot be read; what else goes wrong concerns all of them."""


@dataclass(frozen=True)
class Unreadable:
    """Stands for an image that its data set failed to read."""

    error: Exception


def each_image(images: Any) -> Iterator[Any]:
    """Yield images one by one, in order, reading each when it is needed.

    Args:
        images: As for :meth:`vl_diffusion.DiffusionClassifier.classify`.

    Yields:
        An image for :func:`load_image`, or an :class:`Unreadable` where the item of a sequence cannot be read.

    Raises:
        TypeError: If this holds no images, or a row has no column of images, or several and none is named like images.
    """
    if isinstance(images, str | PurePath):
        raise TypeError(f"images must hold images, got the file name {str(images)!r}; open it with read_image")
    if hasattr(images, "read"):
        raise TypeError(f"images must hold images, got an open file ({type(images).__name__}); pass its bytes, read()")
    if _is_one(images) or _is_batch(images) or isinstance(images, Mapping):
        yield from _expand(images)
    elif type(images) in (list, tuple) and _is_labeled(images):
        yield from _expand(images[0], in_batch=True)
    elif _is_indexed(images):
        for index in range(len(images)):
            try:
                item = images[index]
            except READ_ERRORS as error:
                yield Unreadable(error)
            else:
                yield from _images_of(item)
    elif isinstance(images, Iterable):
        for item in images:
            yield from _images_of(item)
    else:
        raise TypeError(
            f"images must be an image, a sequence, a data set or an iterable of images, got {type(images).__name__}"
        )


def load_each(
    images: Any, *, counts: Collection[int] = (), on_error: OnError | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Index and pixels of each image, as :func:`each_image` and :func:`load_image` give them.

    Args:
        images: As for :meth:`vl_diffusion.DiffusionClassifier.classify`.
        counts: Numbers of image ids and of rows of logits, which must be that of the images.
        on_error: Called with the index and the error of an image that cannot be read, which is then left out.

    Raises:
        OSError: If a file cannot be read.
        TypeError: If an image is of an unsupported type.
        ValueError: If an image cannot be decoded or is no image, or there are more or fewer images than `counts`.
    """
    total = 0
    for i, image in enumerate(each_image(images)):
        total = i + 1
        if counts and total > min(counts):
            raise ValueError(f"image_ids and logits need one entry for each image, got {min(counts)} for more images")
        try:
            tensor = load_image(image, i)
        except READ_ERRORS as error:
            if on_error is None:
                raise
            on_error(i, error)
            continue
        yield i, tensor
    if any(count != total for count in counts):
        raise ValueError(f"image_ids and logits need one entry for each image, got {max(counts)} for {total} images")


def count_images(images: Any) -> int | None:
    """Number of images, or None where only reading them tells, as for a data loader or a generator."""
    if _is_one(images):
        return 1
    if _is_batch(images):
        return len(images)
    if type(images) in (list, tuple):
        if _is_labeled(images):
            return 1 if _is_one(images[0]) else None
        return len(images) if all(map(_holds_one, images)) else None
    if _is_indexed(images) and not isinstance(images, Mapping):
        return len(images)
    return None


def image_sequence(images: Any) -> Sequence[Any]:
    """The images as something with a length that can be read several times; read at once where they are not.

    Raises:
        ValueError: If there is no image.
        TypeError: As :func:`each_image`.
    """
    # An image and its label have another length than they hold images.
    is_sequence = _is_indexed(images) and not _is_one(images) and count_images(images) == len(images)
    sequence: Sequence[Any] = images if is_sequence else [_checked(item) for item in each_image(images)]
    if not len(sequence):
        raise ValueError("images is empty; pass at least one image")
    return sequence


def load_image(image: Any, index: int) -> Tensor:
    """Convert an item of :func:`each_image` to float32 ``(C, H, W)`` in [0, 1] on the CPU.

    Raises:
        OSError: If the image is a file that cannot be read.
        TypeError: If it is of an unsupported type.
        ValueError: If it cannot be decoded, has NaN, is out of range, or is neither gray nor RGB.
    """
    image = _checked(image)
    if isinstance(image, Mapping):
        image = image["path"] if image["bytes"] is None else image["bytes"]
        return checked_image(read_image(image, name=f"image {index}"), index)
    if isinstance(image, bytes | bytearray | memoryview):
        return checked_image(read_image(bytes(image), name=f"image {index}"), index)
    if isinstance(image, Tensor) and image.dtype == torch.uint8:
        return checked_image(_from_bytes(image.detach().cpu()), index)
    return checked_image(image, index)


def _from_bytes(image: Tensor) -> Any:
    """An image of bytes, channels first as decoders of PyTorch have it, or last as NumPy."""
    if image.ndim == 3 and image.shape[0] in (1, 3) and image.shape[2] not in (1, 3):
        return image.float() / 255
    return image.numpy()


def _checked(image: Any) -> Any:
    if isinstance(image, Unreadable):
        raise image.error
    return image


def _images_of(item: Any) -> list[Any]:
    """The images of one item, or the reason why it has none."""
    try:
        return list(_expand(item))
    except TypeError as error:
        return [Unreadable(error)]


def _expand(item: Any, *, in_batch: bool = False) -> Iterator[Any]:
    """Yield the images of an item: an image, a row, a batch, or one of these with labels.

    Args:
        item: The item.
        in_batch: True if a tuple holds several images, not an image and its label.
    """
    if isinstance(item, Mapping) and not _is_encoded(item):
        yield from _expand(_image_of(item), in_batch=True)
    elif _is_batch(item):
        yield from item
    elif isinstance(item, list | tuple) and item:
        if in_batch or (isinstance(item, list) and not _is_labeled(item)):
            for part in item:
                yield from _expand(part)
        else:
            yield from _expand(item[0], in_batch=True)
    else:
        yield item


def _image_of(row: Mapping[Any, Any]) -> Any:
    for name in _COLUMNS:
        if name in row:
            return row[name]
    found = [name for name, value in row.items() if _may_be_images(value)]
    if len(found) == 1:
        return row[found[0]]
    if found:
        some = ", ".join(map(repr, found[:5])) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise TypeError(
            f"row must name its column of images, such as 'image', got images in {some}; rename the one to use, or "
            "pass the values of a dictionary of images"
        )
    raise TypeError(f"row must have a column of images, such as 'image', got {', '.join(map(str, row)) or 'none'}")


def _may_be_images(value: Any) -> bool:
    """True for a column whose name does not tell: encoded images of any name could be other bytes."""
    if isinstance(value, Mapping) and not _is_encoded(value):
        return any(map(_may_be_images, value.values()))
    return _holds_images(value) and not isinstance(value, bytes)


def _is_one(value: Any) -> bool:
    """True for an image, decoded or not."""
    kinds = (Image.Image, bytes, bytearray, memoryview)
    return isinstance(value, kinds) or getattr(value, "ndim", 0) in (2, 3) or _is_encoded(value)


def _is_encoded(value: Any) -> bool:
    """True for an image of a Hugging Face data set that is not decoded."""
    return isinstance(value, Mapping) and set(value) == {"bytes", "path"}


def _is_batch(value: Any) -> bool:
    return getattr(value, "ndim", 0) == 4


def _is_indexed(value: Any) -> bool:
    # The indices of a column of pandas are labels, in any order.
    is_indexed = hasattr(value, "__len__") and hasattr(value, "__getitem__") and not hasattr(value, "iloc")
    return is_indexed and not isinstance(value, IterableDataset)


def _holds_one(item: Any) -> bool:
    """True for an item of one image, alone, with a label, or in a row."""
    if isinstance(item, Mapping) and not _is_encoded(item):
        try:
            return _is_one(_image_of(item))
        except TypeError:
            # It will be an image that cannot be read.
            return True
    return _is_one(item[0]) if isinstance(item, tuple) and item else not isinstance(item, list) and not _is_batch(item)


def _holds_images(value: Any) -> bool:
    """True for an image, a batch or a row of images, or a sequence of these."""
    if isinstance(value, list | tuple):
        return bool(value) and _holds_images(value[0])
    return _is_one(value) or _is_batch(value) or isinstance(value, Mapping)


def _is_labeled(items: Sequence[Any]) -> bool:
    """True for an image or a batch followed by what are no images, such as a label or labels."""
    first, *others = items or [None]
    return bool(others) and _holds_images(first) and not any(map(_holds_images, others))
