"""Two sides of images to translate between, of which the true pairs are known but not shown."""

from __future__ import annotations

from torch import Tensor


def fade(images: Tensor) -> Tensor:
    """Halve the contrast around gray: 0.25 + x / 2.

    Example:
        >>> fade(torch.tensor([0.0, 1.0])).tolist()
        [0.25, 0.75]
    """
    return 0.25 + images / 2


class UnpairedSides:
    """Items of a source and a target side that belong to different images.

    The first half of the images is seen through `fade` alone, the second half as it is. An item also has the true pair
    of its source, for training with pairs.

    Args:
        images: ``(N, C, H, W)`` in [0, 1], at least two.

    Raises:
        ValueError: If there are fewer than two, or the shape is another.
    """

    def __init__(self, images: Tensor):
        if images.ndim != 4 or len(images) < 2:
            raise ValueError(f"images must have shape (N, C, H, W), N at least 2, got {tuple(images.shape)}")
        self._half = len(images) // 2
        self._images = images

    def __len__(self) -> int:
        return self._half

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Source, an image of the target side, and the true pair of the source."""
        pair, other = self._images[index], self._images[self._half + index]
        return fade(pair), other, pair
