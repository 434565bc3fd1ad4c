"""Images of a data set without what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from PIL import Image


class DatasetImages(Sequence[Image.Image]):
    """The first entry of each item of a data set, read when it is asked for.

    Args:
        dataset: Items by position that begin with an image.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        """Number of images."""
        return len(self._dataset)

    @overload
    def __getitem__(self, item: int) -> Image.Image: ...
    @overload
    def __getitem__(self, item: slice) -> list[Image.Image]: ...
    def __getitem__(self, item: int | slice) -> Image.Image | list[Image.Image]:
        """Read one image, or several."""
        if isinstance(item, slice):
            return [self[index] for index in range(*item.indices(len(self)))]
        image: Image.Image = self._dataset[item][0]
        return image
