"""`CaptionedImages`, images with one or several captions each, as training and evaluation take them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from PIL import Image
from torch.utils.data import Dataset
from vl_core.data import ImageDataset, image_position, image_positions
from vl_core.progress import progress_bar

from vl_vlm.captions.images import DatasetImages


class CaptionedImage(NamedTuple):
    """One image with its captions."""

    image: Image.Image
    """In mode RGB or L."""
    captions: tuple[str, ...]
    """At least one."""
    name: str
    """Stable identifier of the image within its data set."""


class CaptionedImages(Dataset[CaptionedImage]):
    """Images with captions as a map-style data set: ``dataset[i]`` is a `CaptionedImage`.

    Every image can be read by its position, which is what lets training resume exactly.

    Args:
        images: PIL images by position, read lazily; picklable where a data loader starts workers afresh.
        captions: Captions of each image, at least one.
        names: A unique identifier for each image, such as its path inside a folder.
        name: Name of the data set in reports.
        metadata: Further fields of each image, or None.
        skipped: Images left out, such as unreadable ones: name and reason.

    Raises:
        TypeError: If a caption is no text.
        ValueError: If the lengths disagree, an image has no caption, a caption is blank, or names are not unique.

    Example:
        >>> photo = Image.new("RGB", (8, 8))
        >>> CaptionedImages([photo], [["a black square"]], names=["0"], name="squares")[0].captions
        ('a black square',)
    """

    def __init__(
        self,
        images: Sequence[Image.Image],
        captions: Sequence[Sequence[str]],
        *,
        names: Sequence[str],
        name: str,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        skipped: Sequence[tuple[str, str]] = (),
    ) -> None:
        for what, values in (("captions", captions), ("names", names), ("metadata", metadata)):
            if values is not None and len(values) != len(images):
                raise ValueError(f"{what} of {name} must have one entry an image ({len(images)}), got {len(values)}")
        if len(set(names)) != len(names):
            double, count = Counter(names).most_common(1)[0]
            raise ValueError(
                f"names of {name} must be unique, got {double!r} {count} times; images are told apart by them"
            )
        self.name = name
        self.names = tuple(names)
        self.captions = tuple(_checked(own, each, name) for own, each in zip(captions, names, strict=True))
        self.metadata = None if metadata is None else tuple(metadata)
        self.skipped = tuple(skipped)
        self._images = images
        self._positions: Sequence[int] = range(len(images))

    @classmethod
    def of(cls, dataset: ImageDataset) -> Self:
        """The images of a data set that has captions, such as the built-in ``emoji``.

        Raises:
            ValueError: If it has none, or an image's caption is empty.
        """
        if dataset.captions is None:
            raise ValueError(f"{dataset.name} has no captions; see open_captions for the forms that hold some")
        return cls(
            DatasetImages(dataset),
            [[caption] for caption in dataset.captions],
            names=dataset.names,
            name=dataset.name,
            metadata=dataset.metadata,
            skipped=dataset.skipped,
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._positions)

    def __getitem__(self, index: int) -> CaptionedImage:
        """Image, captions and name; negative positions count from the end."""
        position = image_position(index, len(self), self.name)
        return CaptionedImage(self._images[self._positions[position]], self.captions[position], self.names[position])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)} images, {sum(map(len, self.captions))} captions)"

    def in_memory(self, *, progress: bool = False) -> Self:
        """The same images, read once and kept: for small sets that take long to decode or draw.

        Args:
            progress: Show a progress bar.
        """
        bar = progress_bar(range(len(self)), desc="reading images", unit="images", disable=not progress)
        result = self.subset(range(len(self)))
        result._images = [self[index].image for index in bar]
        result._positions = range(len(self))
        return result

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
        result._positions = [self._positions[index] for index in chosen]
        result.names = tuple(self.names[index] for index in chosen)
        result.captions = tuple(self.captions[index] for index in chosen)
        if self.metadata is not None:
            result.metadata = tuple(self.metadata[index] for index in chosen)
        return result


def _checked(captions: Sequence[str], image: str, name: str) -> tuple[str, ...]:
    if isinstance(captions, str):
        raise TypeError(f"captions of {image!r} in {name} must be a list of texts, got one text; put it in a list")
    for caption in captions:
        if not isinstance(caption, str):
            raise TypeError(f"captions of {image!r} in {name} must be texts, got {type(caption).__name__}")
        if not caption.strip():
            raise ValueError(f"captions of {image!r} in {name} must not be blank; remove it or write a text")
    if not captions:
        raise ValueError(f"captions of {image!r} in {name} must be at least one, got none; leave the image out")
    return tuple(captions)
