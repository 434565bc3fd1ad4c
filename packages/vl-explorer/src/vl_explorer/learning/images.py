"""Images of a store and of the target, one after the other, as a learner trains on them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image
from vl_core.data import ImageError, read_image


class FoundImages:
    """Images by position, read when they are asked for; `TrainingImages`.

    Args:
        names: A name for each, equal for equal images.
        images: An image, or a file that holds one.
    """

    def __init__(self, names: Sequence[str], images: Sequence[Image.Image | Path]) -> None:
        self.names = tuple(names)
        self._images = tuple(images)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, position: int) -> Image.Image:
        """The image; in place of a file that went meanwhile, such as for a quota, the next image that is there."""
        if position >= len(self):
            raise IndexError(position)
        for step in range(len(self) - 1):
            with suppress(ImageError, OSError):
                return self._opened((position + step) % len(self))
        return self._opened(position - 1)

    def _opened(self, position: int) -> Image.Image:
        image = self._images[position]
        return open_stored(image) if isinstance(image, Path) else image


SIDE = 1024
"""Pixels of the longer side of images as they are looked at: hundreds are in memory at once, and a small file of a
stranger may hold 40 million pixels."""


def reduced(image: Image.Image) -> Image.Image:
    """The image, or a smaller version of one that is larger than `SIDE`."""
    if max(image.size) > SIDE:
        image = image.copy()
        image.thumbnail((SIDE, SIDE))
    return image


def open_stored(path: Path) -> Image.Image:
    """Image of a store, which was checked when it came, `reduced`.

    Raises:
        ImageError: If it is damaged; a ValueError.
        OSError: If the file is gone.
    """
    return reduced(read_image(path.read_bytes(), name=str(path), pixel_range=(0, 65535)))
