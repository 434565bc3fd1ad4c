"""Near-duplicates: images whose perceptual hashes are near and, where an embedding is given, whose features agree.

A hash alone takes two images of one layout, such as product photographs on white, for versions of each other; features
alone take two photographs of one bird for it. Both together are rarely wrong. Equal files need neither: the store
keeps content once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vl_explorer.store.likeness.filters import check_match
from vl_explorer.store.likeness.hashing import DISTANCE, QUALITY, HashIndex, PerceptualHash, perceptual_hash

COSINE = 0.9
"""Least cosine of the features of two versions of one image; depends on the encoder."""

Embed = Callable[[Image.Image], ArrayLike]
"""Features of one image, ``(d,)``, of any length other than zero."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Hash and embedding that two versions of an image have in common."""

    hash: PerceptualHash
    """Perceptual hash with its quality."""
    embedding: NDArray[np.float32] | None = None
    """Features of unit length ``(d,)``, None where there is no embedding."""


@dataclass(frozen=True)
class Match:
    """An image that another one is a version of."""

    key: Hashable
    """Of the image that was there before."""
    distance: int
    """Bits in which the hashes differ."""
    cosine: float | None
    """Of the features, None without an embedding."""


def fingerprint(image: Image.Image, embed: Embed | None = None) -> Fingerprint:
    """Fingerprint of an image.

    Args:
        image: Of any size and mode.
        embed: Features of an image; whoever embeds in batches makes `Fingerprint` from the rows instead.

    Raises:
        ValueError: If the features are not finite numbers ``(d,)`` of which one is not zero.
    """
    return Fingerprint(perceptual_hash(image), None if embed is None else unit_length(embed(image)))


def unit_length(features: ArrayLike) -> NDArray[np.float32]:
    """Features ``(d,)`` of unit length.

    Raises:
        ValueError: If they are not finite, all zero, or of another shape.
    """
    row = np.asarray(features, np.float64)
    norm = float(np.linalg.norm(row)) if row.ndim == 1 else float("nan")
    if not 0 < norm < float("inf"):
        raise ValueError(
            f"features must be finite, not all zero, and of shape (d,), got shape {row.shape}, norm {norm}"
        )
    return (row / norm).astype(np.float32)


class NearDuplicates:
    """Fingerprints of images by key, searched for versions of another image; a filter of images as well.

    Features are asked for only where hashes are near, which is rare.

    Args:
        embed: Features of an image; None is by hash alone.
        load: Image of a key, so that images may be added by their hashes alone, such as those of a store that is
            opened again; their features are then made when they are first needed. It returns None for an image that is
            gone, which is then no duplicate of anything.
        distance: Bits in which the hashes of two versions differ at most.
        cosine: Least cosine of their features.
        quality: Least quality of both hashes; images below it are never near-duplicates.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> fractal = Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 100)
        >>> duplicates = NearDuplicates()
        >>> duplicates.add("first", fingerprint(fractal))
        True
        >>> duplicates(fractal.resize((200, 200)))
        'duplicate'
    """

    def __init__(
        self,
        embed: Embed | None = None,
        *,
        load: Callable[[Any], Image.Image | None] | None = None,
        distance: int = DISTANCE,
        cosine: float = COSINE,
        quality: int = QUALITY,
    ) -> None:
        check_match(distance, quality, cosine)
        self.embed, self.load = embed, load
        self.distance, self.cosine, self.quality = distance, cosine, quality
        self._index = HashIndex()
        self._keys: list[Hashable] = []
        self._embeddings: list[NDArray[np.float32] | None] = []

    def __len__(self) -> int:
        """Number of fingerprints that can be matched."""
        return len(self._keys)

    def add(self, key: Hashable, added: Fingerprint) -> bool:
        """Add an image; returns False if its hash is too poor ever to be matched.

        Raises:
            ValueError: If it lacks features that cannot be made later.
        """
        if self.embed is not None and self.load is None and added.embedding is None:
            raise ValueError("added must have features like the others here; make it with the same embed, or give load")
        if added.hash.quality < self.quality:
            return False
        self._index.add(added.hash)
        self._keys.append(key)
        self._embeddings.append(added.embedding)
        return True

    def find(self, sought: Fingerprint) -> Match | None:
        """The image that another one is a version of: the nearest by hash of those that agree, None if none does.

        Raises:
            ValueError: If it lacks features while there is an embedding.
        """
        if self.embed is not None and sought.embedding is None:
            raise ValueError("sought must have features like the others here; make it with the same embed")
        for place, distance in self._near(sought.hash):
            if self.embed is None or sought.embedding is None:
                return Match(self._keys[place], distance, None)
            stored = self._features(place)
            if stored is not None and (cosine := float(stored @ sought.embedding)) >= self.cosine:
                return Match(self._keys[place], distance, cosine)
        return None

    def has_near(self, sought: PerceptualHash) -> bool:
        """True if a hash is near that of an image here, so that features would decide."""
        return bool(self._near(sought))

    def find_image(self, image: Image.Image) -> Match | None:
        """The same for an image, whose features are made if a hash is near."""
        found = perceptual_hash(image)
        if not self._near(found):
            return None
        return self.find(Fingerprint(found, None if self.embed is None else unit_length(self.embed(image))))

    def __call__(self, image: Image.Image) -> str | None:
        """``"duplicate"`` if an image is a version of one that was added, else None."""
        return None if self.find_image(image) is None else "duplicate"

    def _near(self, sought: PerceptualHash) -> list[tuple[int, int]]:
        return [] if sought.quality < self.quality else self._index.near(sought, self.distance)

    def _features(self, place: int) -> NDArray[np.float32] | None:
        if self._embeddings[place] is None and self.load is not None and self.embed is not None:
            image = self.load(self._keys[place])
            self._embeddings[place] = None if image is None else unit_length(self.embed(image))
        return self._embeddings[place]
