"""Hooks that keep an image out before it enters the store: a filter looks at it and gives its reason, or None."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, Self

from PIL import Image

from vl_explorer.store.likeness.hashing import DISTANCE, QUALITY, HashIndex, PerceptualHash, perceptual_hash


class ImageFilter(Protocol):
    """Anything that looks at an image, such as a classifier of unwanted content."""

    def __call__(self, image: Image.Image) -> str | None:
        """Reason to keep the image out, in one word that is kept with its URL; None to let it in."""
        ...


def first_reason(image: Image.Image, filters: Iterable[ImageFilter]) -> str | None:
    """Reason of the first filter that keeps an image out, None if none does; later filters are not asked.

    Raises:
        TypeError: If a filter gives anything but a word or None, such as True.

    Example:
        >>> def tiny(image):
        ...     return "tiny" if min(image.size) < 16 else None
        >>> first_reason(Image.new("L", (8, 8)), [tiny])
        'tiny'
    """
    for check in filters:
        reason = check(image)
        if reason is None:
            continue
        if not isinstance(reason, str) or not reason.strip():
            name = getattr(check, "__name__", type(check).__name__)
            raise TypeError(
                f"filter {name} must return a word that says why the image is kept out, or None to let it in, "
                f"got {reason!r}"
            )
        return reason
    return None


class HashList:
    """Keeps out images that look like those of a list of perceptual hashes, such as lists of harmful images.

    Args:
        hashes: PDQ hashes of 64 hexadecimal digits.
        reason: Given for an image on the list.
        distance: Bits in which a version of a listed image differs at most.
        quality: Least quality of an image's own hash; a flat image is let in, since its hash says nothing.

    Raises:
        ValueError: If a hash is none, or a number is out of range.

    Example:
        >>> HashList(["f" * 64])(Image.new("RGB", (64, 64))) is None
        True
    """

    def __init__(
        self, hashes: Iterable[str], *, reason: str = "listed", distance: int = DISTANCE, quality: int = QUALITY
    ) -> None:
        check_match(distance, quality)
        self.reason, self.distance, self.quality = reason, distance, quality
        self._index = HashIndex(PerceptualHash.from_hex(digits) for digits in hashes)

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, reason: str = "listed") -> Self:
        """A list from a text file: a hash a line, of which the first word counts; lines that begin with # do not.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If a line holds no hash.
        """
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        words = (line.replace(",", " ").split() for line in lines if not line.startswith("#"))
        return cls([line[0] for line in words if line], reason=reason)

    def __len__(self) -> int:
        return len(self._index)

    def __call__(self, image: Image.Image) -> str | None:
        found = perceptual_hash(image)
        near = found.quality >= self.quality and self._index.near(found, self.distance)
        return self.reason if near else None


def check_match(distance: int, quality: int, cosine: float = 1.0) -> None:
    """Refuse thresholds of a match that are out of range.

    Raises:
        ValueError: If one is.
    """
    if not 0 <= distance < 128:
        raise ValueError(f"distance must lie in 0..127 bits, of which unrelated images differ in 128, got {distance}")
    if not 0 <= quality <= 100:
        raise ValueError(f"quality must lie in 0..100, got {quality}; {QUALITY} is the authors' own")
    if not -1 <= cosine <= 1:
        raise ValueError(f"cosine must lie in -1..1, got {cosine}")
