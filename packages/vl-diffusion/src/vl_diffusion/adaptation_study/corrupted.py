"""The pictures of one cell, corrupted when they are asked for: the same for every method and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vl_diffusion.adaptation_study.record import CLEAN, Cell
from vl_diffusion.corruptions import corrupt
from vl_diffusion.images import to_tensor
from vl_diffusion.pictures import Pictures


@dataclass(frozen=True, eq=False)
class CellPictures:
    """Gives a picture by its number; what is random in its corruption depends on its id alone."""

    pictures: Pictures
    image_ids: Sequence[int]
    cell: Cell
    tuned_for: int | None = None
    """See :func:`vl_diffusion.corruptions.corrupt`."""

    def __call__(self, number: int) -> Tensor:
        """The picture, float32 ``(C, H, W)`` in [0, 1].

        Raises:
            ValueError: If it cannot be corrupted; the picture is named.
        """
        picture = to_tensor(self.pictures[number])
        if self.cell == CLEAN:
            return picture
        ids = [self.image_ids[number]]
        try:
            return corrupt(picture, self.cell.corruption, self.cell.severity, image_ids=ids, tuned_for=self.tuned_for)[
                0
            ]
        except ValueError as error:
            raise ValueError(f"{self.pictures.pictures[number].name}: {error}") from error
