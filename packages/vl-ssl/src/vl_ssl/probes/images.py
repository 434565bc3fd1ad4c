"""Labeled images in memory for evaluations: resized once, a byte a value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from vl_core.data import ImageError, balanced_order, fit_image, image_to_tensor
from vl_core.progress import progress_bar

_CHECKED = 1024  # images whose range is checked at a time


class LabeledDataset(Protocol):
    """A map-style data set of images and labels, such as `vl_core.data.open_dataset` opens."""

    labels: Any
    classes: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, int]: ...


class ImageTensors:
    """Images ``(n, C, H, W)`` with labels, as a map-style data set; stored as given, read as float32 in [0, 1].

    Args:
        images: ``(n, C, H, W)``, uint8 or floating in [0, 1].
        labels: ``(n,)`` integers, -1 for none.

    Raises:
        TypeError: If one of them is of another type.
        ValueError: If there are no images, or a shape or a range is not as above.

    Example:
        >>> images = ImageTensors(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]))
        >>> len(images), images[3][0].shape, images[3][1]
        (4, torch.Size([1, 8, 8]), 1)
    """

    def __init__(self, images: Tensor, labels: Tensor | Sequence[int]):
        if not isinstance(images, Tensor) or not (images.dtype == torch.uint8 or images.is_floating_point()):
            got = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise TypeError(f"images must be a tensor, uint8 or floating in [0, 1], got {got}")
        if images.ndim != 4 or 0 in images.shape:
            raise ValueError(f"images must have shape (n, C, H, W) with n above zero, got {tuple(images.shape)}")
        check_range(images, "images")
        labels = torch.as_tensor(labels)
        if labels.is_floating_point() or labels.dtype == torch.bool:
            raise TypeError(f"labels must be integers, got {labels.dtype}")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"labels must have shape ({len(images)},), one an image, got {tuple(labels.shape)}")
        self.images, self.labels = images, labels.to("cpu", torch.int64)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Image ``(C, H, W)``, float32 in [0, 1], and its label."""
        return self.batch(slice(index, index + 1 or None))[0], int(self.labels[index])

    def batch(self, rows: slice) -> Tensor:
        """Images ``(b, C, H, W)``, float32 in [0, 1]."""
        images = self.images[rows]
        return images.float() / 255 if images.dtype == torch.uint8 else images.float()

    def subset(self, indices: Iterable[int]) -> ImageTensors:
        """The images at these positions, in this order."""
        chosen = torch.tensor(list(indices), dtype=torch.int64)
        return ImageTensors(self.images[chosen.to(self.images.device)], self.labels[chosen])


def image_tensors(
    dataset: LabeledDataset,
    *,
    size: int,
    channels: int,
    limit: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> ImageTensors:
    """Read labeled images of a data set, resized and cropped to the center, into memory.

    Args:
        dataset: Images in any form that `vl_core.data.image_to_tensor` takes, with labels.
        size: Height and width in pixels.
        channels: 1 (luminance) or 3 (gray is repeated).
        limit: Largest number of images: a random choice with all classes in proportion. All by default.
        seed: Of that choice.
        progress: Whether to show a progress bar.

    Returns:
        The labeled images as uint8, in the order of the data set; images without a label are left out.

    Raises:
        ValueError: If no image has a label, one cannot be read, or ``size``, ``channels`` or ``limit`` is out of range.

    Example:
        >>> from vl_core.data import open_dataset
        >>> image_tensors(open_dataset("fashion", split="test"), size=28, channels=1, limit=50).images.shape
        torch.Size([50, 1, 28, 28])
    """
    if channels not in (1, 3):
        raise ValueError(
            f"channels must be 1 or 3, got {channels}; put images of others into ImageTensors(images, labels)"
        )
    if size < 1 or (limit is not None and limit < 1):
        raise ValueError(f"size and limit must be at least 1, got {size} and {limit}")
    chosen = labeled_rows(torch.as_tensor(dataset.labels), limit, seed=seed, what="dataset")
    pixels = torch.empty(len(chosen), channels, size, size, dtype=torch.uint8)
    for row, index in enumerate(progress_bar(chosen, desc="images", unit="image", disable=not progress)):
        try:
            image = fit_image(image_to_tensor(dataset[index][0]), size, channels)
        except (TypeError, ValueError) as error:
            raise ImageError(f"image {index} of the data set cannot be used: {error}") from error
        pixels[row] = (image * 255).round().to(torch.uint8)
    return ImageTensors(pixels, torch.as_tensor(dataset.labels)[chosen])


def labeled_rows(labels: Tensor, limit: int | None, *, seed: int, what: str) -> list[int]:
    """Positions of labeled images, ascending: all, or at most ``limit`` with all classes in proportion.

    Raises:
        ValueError: If no image has a label; the message begins with ``what``.
    """
    rows = (labels >= 0).nonzero()[:, 0].tolist()
    if not rows:
        raise ValueError(f"{what} must hold labeled images, got {len(labels)} without a label; a probe needs classes")
    if limit is None or limit >= len(rows):
        return rows
    order = balanced_order(labels[rows].tolist(), seed=seed)
    return sorted(rows[index] for index in order[:limit])


def check_range(images: Tensor, what: str) -> None:
    """Refuse floating-point pixels outside of [0, 1], such as normalized ones, and NaN.

    Raises:
        ValueError: If there are any; the message begins with ``what``.
    """
    if not images.is_floating_point() or not images.numel():
        return
    for part in torch.split(images.detach(), _CHECKED):
        low, high = (float(end) for end in part.aminmax())
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"{what} must hold floating-point pixels in [0, 1], got {low:.4g} to {high:.4g}; divide bytes by 255, "
                "clamp what interpolation exceeds, and leave normalization to the backbone"
            )
