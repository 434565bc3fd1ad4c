"""Contents of a data set: images with labels, names and optional captions, without PyTorch."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, Self, SupportsIndex

import numpy as np
import numpy.typing as npt
from PIL import Image

Transform = Callable[[Image.Image], Any]


class ImageSource(Protocol):
    """Images by position, read lazily."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, index: int, /) -> Image.Image:
        """Read one image, in mode RGB or L."""


class ImageContents:
    """The images of a data set by position; `ImageDataset`, which extends it, explains the arguments and attributes."""

    name: str
    split: str | None
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    captions: tuple[str, ...] | None
    metadata: tuple[Mapping[str, Any], ...] | None
    transform: Transform | None
    skipped: tuple[tuple[str, str], ...]
    passed_over: tuple[tuple[str, str], ...]

    def __init__(
        self,
        images: ImageSource,
        labels: npt.ArrayLike,
        *,
        name: str,
        names: Sequence[str],
        classes: Sequence[str] = (),
        split: str | None = None,
        captions: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        transform: Transform | None = None,
        skipped: Sequence[tuple[str, str]] = (),
        passed_over: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.name = name
        self.split = split
        self.classes = tuple(classes)
        self.labels = np.array(labels, dtype=np.int64)
        self.names = tuple(names)
        self.captions = None if captions is None else tuple(captions)
        self.metadata = None if metadata is None else tuple(metadata)
        self.transform = transform
        self.skipped = tuple(skipped)
        self.passed_over = tuple(passed_over)
        self._images = images
        self._positions = np.arange(len(images))
        for what, values in (
            ("labels", self.labels),
            ("names", self.names),
            ("captions", self.captions),
            ("metadata", self.metadata),
        ):
            if values is not None and len(values) != len(images):
                raise ValueError(f"{what} of {name} must have one entry an image ({len(images)}), got {len(values)}")
        if len(images) and not (self.labels.min() >= -1 and self.labels.max() < len(self.classes)):
            raise ValueError(
                f"labels of {name} must lie in -1..{len(self.classes) - 1} (-1 for none, {len(self.classes)} classes), "
                f"got {self.labels.min()}..{self.labels.max()}"
            )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._positions)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """The image, transformed, and its label; negative positions count from the end."""
        position = image_position(index, len(self), self.name)
        image = self._images[int(self._positions[position])]
        return (image if self.transform is None else self.transform(image)), int(self.labels[position])

    def __repr__(self) -> str:
        split = "" if self.split is None else f", split={self.split!r}"
        return f"{type(self).__name__}({self.name!r}{split}, {len(self)} images, {len(self.classes)} classes)"

    def subset(self, indices: Iterable[int]) -> Self:
        """The images at ``indices``, in that order, sharing the files or arrays of this data set.

        Args:
            indices: Positions in this data set; repeats are allowed.

        Raises:
            IndexError: If a position is negative or too large.
        """
        chosen = image_positions(indices, len(self), self.name)
        result = object.__new__(type(self))
        result.__dict__.update(self.__dict__)
        result._positions = self._positions[chosen]
        result.labels = self.labels[chosen]
        result.names = tuple(self.names[index] for index in chosen)
        if self.captions is not None:
            result.captions = tuple(self.captions[index] for index in chosen)
        if self.metadata is not None:
            result.metadata = tuple(self.metadata[index] for index in chosen)
        return result


def image_position(index: SupportsIndex, count: int, name: str) -> int:
    """Position of one image of a data set, where negative ones count from the end.

    Raises:
        IndexError: If there is no such image among ``count``; the message has the data set's ``name``.
    """
    position = operator.index(index)
    if not -count <= position < count:
        raise IndexError(f"{name} has {count} images, got index {position}")
    return position


def image_positions(indices: Iterable[SupportsIndex], count: int, name: str) -> list[int]:
    """Positions of images that are to form a subset.

    Raises:
        IndexError: If one is negative or too large; the message has the data set's ``name``.
    """
    chosen = [operator.index(index) for index in indices]
    for index in chosen:
        if not 0 <= index < count:
            raise IndexError(f"indices must lie in 0..{count - 1} for {name}, got {index}")
    return chosen
