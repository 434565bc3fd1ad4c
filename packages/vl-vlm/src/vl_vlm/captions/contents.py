"""Contents of a captioned data set without PyTorch: what every reader returns, parts of it, and several in a row."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image
from vl_core.tables import printable


class ImageReader(Protocol):
    """Images by position, read when they are asked for."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, index: int, /) -> Image.Image:
        """Read one image, in mode RGB or L."""


@dataclass
class Contents:
    """Images with captions, and what cannot be used."""

    name: str
    images: ImageReader
    captions: list[list[str]]
    """Of each image, at least one."""
    names: list[str]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Samples that cannot be used: name and reason."""
    metadata: list[Mapping[str, Any]] | None = None

    def take(self, positions: Iterable[int]) -> Contents:
        """The images at these positions; what is skipped stays."""
        chosen = list(positions)
        return Contents(
            self.name,
            ChosenImages(self.images, chosen),
            [self.captions[position] for position in chosen],
            [self.names[position] for position in chosen],
            self.skipped,
            None if self.metadata is None else [self.metadata[position] for position in chosen],
        )

    def first(self, limit: int | None) -> Contents:
        """The first ``limit`` images, or all."""
        return self if limit is None or limit >= len(self.names) else self.take(range(limit))

    def refuse_empty(self) -> None:
        """Raise ValueError if no image can be used."""
        if not self.names:
            first = f"; the first of {len(self.skipped)}: {' '.join(self.skipped[0])}" if self.skipped else ""
            raise ValueError(printable(f"{self.name} has no image with a caption that can be used{first}"))

    def refuse_skipped(self) -> None:
        """Raise ValueError if a sample cannot be used."""
        if self.skipped:
            name, reason = self.skipped[0]
            others = f" (and {len(self.skipped) - 1} more)" if len(self.skipped) > 1 else ""
            raise ValueError(
                printable(
                    f"{self.name} has samples that cannot be used: {name} {reason}{others}; repair what is wrong, or "
                    "leave them out with skip_broken, which counts them"
                )
            )


def join(name: str, parts: Mapping[str, Contents]) -> Contents:
    """Several data sets one after the other; keys stand before the names of their images."""
    return Contents(
        name,
        JoinedImages([part.images for part in parts.values()]),
        [captions for part in parts.values() for captions in part.captions],
        [f"{prefix}{own}" for prefix, part in parts.items() for own in part.names],
        [(f"{prefix}{own}", reason) for prefix, part in parts.items() for own, reason in part.skipped],
    )


class ChosenImages:
    """Images of another reader at some positions."""

    def __init__(self, images: ImageReader, positions: Sequence[int]) -> None:
        self._images = images
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> Image.Image:
        return self._images[self._positions[index]]


class JoinedImages:
    """Images of several readers one after the other."""

    def __init__(self, readers: Sequence[ImageReader]) -> None:
        self._readers = readers
        self._ends = list(itertools.accumulate(map(len, readers)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Image.Image:
        part = bisect.bisect_right(self._ends, index)
        return self._readers[part][index - (self._ends[part - 1] if part else 0)]
