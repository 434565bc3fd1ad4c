"""Cells of a study: ways of corrupting images, and the corrupted images of one cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from vl_core.charts import in_words
from vl_core.corruptions import corrupt

from vl_diffusion.models.images import to_tensor
from vl_diffusion.runs.image_collection import ImageCollection


@dataclass(frozen=True)
class Cell:
    """One corruption at one severity."""

    corruption: str
    """Name of a corruption, or "clean"."""

    severity: int
    """1 to 5; 0 for clean images."""

    @property
    def title(self) -> str:
        """A name for tables and plots."""
        return "clean" if self == CLEAN else f"{in_words(self.corruption)} {self.severity}"


CLEAN = Cell("clean", 0)


@dataclass(frozen=True, eq=False)
class CorruptedImages:
    """Corrupts images of a collection on request; the same for every method and seed.

    The randomness of a corruption depends on the image's id alone.
    """

    images: ImageCollection
    image_ids: Sequence[int]
    cell: Cell
    tuned_for: int | None = None
    """See :func:`vl_core.corruptions.corrupt`."""

    def __call__(self, number: int) -> Tensor:
        """The image with this number, corrupted, float32 ``(C, H, W)`` in [0, 1].

        Raises:
            ValueError: If it cannot be corrupted; the message names the image.
        """
        image = to_tensor(self.images[number])
        if self.cell == CLEAN:
            return image
        ids = [self.image_ids[number]]
        try:
            return corrupt(image, self.cell.corruption, self.cell.severity, image_ids=ids, tuned_for=self.tuned_for)[0]
        except ValueError as error:
            raise ValueError(f"{self.images.entries[number].name}: {error}") from error
