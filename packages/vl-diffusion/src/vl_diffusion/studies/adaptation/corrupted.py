"""The images of one cell, corrupted when they are asked for: the same for every method and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from vl_core.corruptions import corrupt

from vl_diffusion.models.images import to_tensor
from vl_diffusion.runs.image_collection import ImageCollection
from vl_diffusion.studies.adaptation.record import CLEAN, Cell


@dataclass(frozen=True, eq=False)
class CorruptedImages:
    """Gives an image by its number; what is random in its corruption depends on its id alone."""

    images: ImageCollection
    image_ids: Sequence[int]
    cell: Cell
    tuned_for: int | None = None
    """See :func:`vl_core.corruptions.corrupt`."""

    def __call__(self, number: int) -> Tensor:
        """The image, float32 ``(C, H, W)`` in [0, 1].

        Raises:
            ValueError: If it cannot be corrupted; the image is named.
        """
        image = to_tensor(self.images[number])
        if self.cell == CLEAN:
            return image
        ids = [self.image_ids[number]]
        try:
            return corrupt(image, self.cell.corruption, self.cell.severity, image_ids=ids, tuned_for=self.tuned_for)[0]
        except ValueError as error:
            raise ValueError(f"{self.images.entries[number].name}: {error}") from error
