"""Images of the commands: those that can be read, made to fit a density."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

import torch
from PIL import Image
from torch import Tensor
from vl_core.data import ImageDataset, fit_image, image_batch, image_to_tensor, open_dataset
from vl_core.progress import progress_bar

from vl_density.quantization import quantize

Shape: TypeAlias = tuple[int, int, int]
"""Channels, height and width."""

SMALL = 64
"""Largest height and width that images keep by default."""
SIDE = 32
"""Height and width of other images by default."""


@dataclass(frozen=True)
class OpenedImages:
    """Images that can be read, and the shapes that they have."""

    dataset: ImageDataset
    """The images."""
    shapes: frozenset[Shape]
    """All shapes among them."""

    def common_shape(self, side: int | None = None) -> Shape:
        """Shape for all of them: color if one has color, `side` by `side`, or the size that small ones have in common.

        Args:
            side: Height and width; by default their own size if it is one, of at most `SMALL` pixels, and else `SIDE`.
        """
        channels = max(shape[0] for shape in self.shapes)
        sizes = {shape[1:] for shape in self.shapes}
        if side is not None:
            return channels, side, side
        (height, width), *others = sizes
        return (channels, SIDE, SIDE) if others or max(height, width) > SMALL else (channels, height, width)

    def fitted(self, shape: Shape) -> ImageDataset:
        """The images as tensors of one shape, with a line on what was done to others.

        The shorter side is resized to the height and width, which must be equal, and the middle is kept.

        Raises:
            ValueError: If an image has another size, and the height and the width differ.
        """
        channels, height, width = shape
        sizes = {found[1:] for found in self.shapes}
        if sizes != {(height, width)}:
            if height != width:
                wrong = sorted(sizes - {(height, width)})[0]
                raise ValueError(
                    f"images of {self.dataset.name} must be {height} by {width} pixels, got {wrong[0]} by {wrong[1]}; "
                    "images are resized for squares alone"
                )
            print(f"{self.dataset.name}: images resized to {height} by {width} pixels, the middle of longer ones")
        if any(found[0] != channels for found in self.shapes):
            print(f"{self.dataset.name}: {'color made gray' if channels == 1 else 'gray images as color'}")
        self.dataset.transform = _Fitted(shape)
        return self.dataset

    def batch(self, shape: Shape, levels: int) -> Tensor:
        """All images in one shape, rounded to the levels of a density, ``(B, C, H, W)``."""
        dataset = self.fitted(shape)
        return quantize(image_batch([dataset[index][0] for index in range(len(dataset))]), levels)


class _Fitted:
    """From an image to a tensor of one shape."""

    def __init__(self, shape: Shape):
        self._shape = shape

    def __call__(self, image: Image.Image) -> Tensor:
        channels, height, width = self._shape
        tensor = image_to_tensor(image.convert("L" if channels == 1 else "RGB"))
        return tensor if tensor.shape[1:] == (height, width) else fit_image(tensor, height, channels)


def open_images(
    source: str,
    split: str | None,
    default: str | None,
    *,
    limit: int | None = None,
    exclude: str | os.PathLike[str] | None = None,
    seed: int | None = None,
) -> OpenedImages:
    """Images of a data set's split: the one that is named, or the default where there are splits.

    Each is read once, so that one that is damaged costs no work later; those are left out, and a line says so.

    Args:
        source: As for `vl_core.data.open_dataset`.
        split: Split that was asked for.
        default: Split otherwise, where there are splits.
        limit: Maximum number of images.
        exclude: Folder that is passed over.
        seed: Of a random choice, where there is a limit; the first ones by default.

    Raises:
        ValueError: If there is no such split, or no image can be read.
        OSError: If a file is missing or damaged.
    """
    dataset = open_dataset(source, split=split, default_split=default, exclude=exclude)
    order = torch.arange(len(dataset))
    if seed is not None:
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    dataset = dataset.subset(order[:limit].tolist())
    kept, shapes, faults = [], set(), []
    for index in progress_bar(range(len(dataset)), desc="reading", unit="images"):
        try:
            image: Image.Image = dataset[index][0]
        except (ValueError, OSError) as error:
            faults.append(str(error))
            continue
        kept.append(index)
        shapes.add((1 if image.mode == "L" else 3, image.height, image.width))
    if faults:
        print(f"{source}: left out {len(faults)} of {len(dataset)} images that cannot be read; the first: {faults[0]}")
    if not kept:
        raise ValueError(f"{source} must have an image that can be read, got none of {len(dataset)}")
    return OpenedImages(dataset.subset(kept), frozenset(shapes))
