"""Perceptual hashes: 256 bits that hardly change when an image is resized, compressed anew or slightly changed.

PDQ (Facebook, 2019): signs of the 16 x 16 lowest cosine coefficients about their median, with a quality from 0 to 100
that counts gradients. Hashes of unrelated images differ in 128 bits on average; the authors call up to 31 a match, and
a quality below 50 too poor to say anything: all flat images look alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 256
DISTANCE = 31
"""Bits in which two versions of one image differ at most."""
QUALITY = 50
"""Least quality of a hash that is evidence."""

_SIDE = 512  # pixels; the authors' own bound, and small images are brought to it so that their sizes do not matter


@dataclass(frozen=True)
class PerceptualHash:
    """A hash with its quality."""

    bits: bytes
    """The 256 bits, in 32 bytes."""
    quality: int
    """From 0, a flat image, to 100."""

    def __post_init__(self) -> None:
        if len(self.bits) * 8 != BITS:
            raise ValueError(f"bits must be {BITS // 8} bytes, got {len(self.bits)}")

    @property
    def hex(self) -> str:
        """The bits as 64 hexadecimal digits, as lists of hashes write them."""
        return self.bits.hex()

    @classmethod
    def from_hex(cls, digits: str, quality: int = 100) -> Self:
        """A hash of which the digits are known.

        Raises:
            ValueError: If there are not 64 hexadecimal digits.
        """
        try:
            return cls(bytes.fromhex(digits), quality)
        except ValueError:
            raise ValueError(f"a perceptual hash must be {BITS // 4} hexadecimal digits, got {digits[:80]!r}") from None


def perceptual_hash(image: Image.Image) -> PerceptualHash:
    """Hash of an image, whatever its size.

    Args:
        image: Of any mode; transparency is dropped.

    Example:
        >>> perceptual_hash(Image.new("RGB", (64, 64))).quality
        0
    """
    import pdqhash  # type: ignore[import-untyped]

    pixels = np.asarray(image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
    bits, quality = pdqhash.compute(pixels)
    return PerceptualHash(np.packbits(bits.astype(np.uint8)).tobytes(), int(quality))


def hamming(first: PerceptualHash, second: PerceptualHash) -> int:
    """Number of bits in which two hashes differ.

    Example:
        >>> hamming(PerceptualHash.from_hex("0" * 64), PerceptualHash.from_hex("0" * 63 + "7"))
        3
    """
    return (int.from_bytes(first.bits) ^ int.from_bytes(second.bits)).bit_count()


class HashIndex:
    """Hashes in one growing array, searched by a pass over all.

    Args:
        hashes: To begin with.
    """

    def __init__(self, hashes: Iterable[PerceptualHash] = ()) -> None:
        self._words: NDArray[np.uint64] = np.empty((BITS // 64, 16), np.uint64)
        self._count = 0
        for found in hashes:
            self.add(found)

    def __len__(self) -> int:
        return self._count

    def add(self, added: PerceptualHash) -> None:
        """Add a hash as the last."""
        if self._count == self._words.shape[1]:
            self._words = np.concatenate([self._words, np.empty_like(self._words)], axis=1)
        self._words[:, self._count] = np.frombuffer(added.bits, np.uint64)
        self._count += 1

    def near(self, sought: PerceptualHash, distance: int) -> list[tuple[int, int]]:
        """Places and distances of the hashes within a distance, the nearest first, and of equals the earliest."""
        words = np.frombuffer(sought.bits, np.uint64)[:, None]
        distances = np.bitwise_count(self._words[:, : self._count] ^ words).sum(0, dtype=np.uint16)
        found = np.flatnonzero(distances <= distance)
        order = found[np.argsort(distances[found], kind="stable")]
        return [(int(place), int(distances[place])) for place in order]
