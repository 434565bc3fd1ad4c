"""Keeps images of the user's test set out of the training set.

Search engines find the very images of public benchmarks: the authors of Internet Explorer counted up to 57 among 1,849.
An image is kept out if hash and features both say that it is a version of a test image. What the guard cannot see it
says: a flat test image has no hash that is evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image

from vl_explorer.store.likeness.duplicates import COSINE, Embed, Fingerprint, Match, NearDuplicates, fingerprint
from vl_explorer.store.likeness.hashing import DISTANCE, QUALITY


@dataclass(frozen=True)
class LeakReport:
    """Counts of a guard, and the images that it kept out."""

    guarded: int
    """Test images that are guarded."""
    unguarded: tuple[int, ...]
    """Places of test images too flat to be known again."""
    looked_at: int
    """Images that were offered."""
    caught: tuple[Match, ...]
    """Images that were kept out, in order; the key of a match is the place of the test image."""

    def __str__(self) -> str:
        leaked = len({match.key for match in self.caught})
        flat = f"; {len(self.unguarded)} test images are too flat to be guarded" if self.unguarded else ""
        return (
            f"{len(self.caught)} of {self.looked_at} images kept out as versions of {leaked} of {self.guarded} "
            f"guarded test images{flat}"
        )


class LeakGuard:
    """A filter that keeps out versions of test images.

    Args:
        test_images: In any order; they are looked at once, and fingerprints alone are kept.
        embed: Features of an image, required: a hash alone would keep out images that only share a layout.
        distance: Bits in which the hashes of two versions differ at most.
        cosine: Least cosine of their features.
        quality: Least quality of both hashes.

    Raises:
        ValueError: If there is no test image, or a number is out of range.

    Example:
        >>> test = [Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 100)]
        >>> guard = LeakGuard(test, lambda image: image.histogram())
        >>> guard(test[0])
        'leak'
        >>> print(guard.report())
        1 of 1 images kept out as versions of 1 of 1 guarded test images
    """

    def __init__(
        self,
        test_images: Iterable[Image.Image],
        embed: Embed,
        *,
        distance: int = DISTANCE,
        cosine: float = COSINE,
        quality: int = QUALITY,
    ) -> None:
        self._known = NearDuplicates(embed, distance=distance, cosine=cosine, quality=quality)
        self._looked_at = 0
        self._caught: list[Match] = []
        kept = [self._known.add(place, fingerprint(image, embed)) for place, image in enumerate(test_images)]
        if not kept:
            raise ValueError("test_images must hold at least one image, got none; leave the guard out instead")
        self._unguarded = tuple(place for place, good in enumerate(kept) if not good)

    def check(self, offered: Fingerprint) -> Match | None:
        """The test image that an image is a version of, None if there is none; the answer enters the report.

        Raises:
            ValueError: If the fingerprint has no features.
        """
        return self._reported(self._known.find(offered))

    def __call__(self, image: Image.Image) -> str | None:
        """``"leak"`` if an image is a version of a test image, else None."""
        return None if self._reported(self._known.find_image(image)) is None else "leak"

    def _reported(self, match: Match | None) -> Match | None:
        self._looked_at += 1
        if match is not None:
            self._caught.append(match)
        return match

    def report(self) -> LeakReport:
        """Report of all images that were offered so far."""
        return LeakReport(len(self._known), self._unguarded, self._looked_at, tuple(self._caught))
