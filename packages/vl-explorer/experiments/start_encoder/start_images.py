"""Images that the start encoder is trained and measured on, all of 64 x 64 pixels.

Caltech-101 and the clip art are read below ``$VL_DATA``; emoji and Fashion-MNIST ship with vl-core. Measurements use
what training has not seen: Caltech's test split, and emoji of a third style.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from vl_core.data import ImageDataset, fit_image, image_to_tensor, open_dataset

SIDE = 64
FASHION = 1000
"""Images of Fashion-MNIST that are trained on, the first of its training split."""


def training_images(data: Path) -> Tensor:
    """Bytes ``(n, 3, 64, 64)`` without labels: photographs, clip art, emoji of two styles, and some clothing."""
    sets = [
        caltech(data, "train")[0],
        images_of(open_dataset(data / "openclipart_64" / "openclipart_64.npz")),
        *(images_of(open_dataset(f"emoji:{style}", split="train")) for style in ("twemoji", "noto")),
        images_of(open_dataset("fashion", split="train").subset(range(FASHION))),
    ]
    return torch.cat([pixels(images) for images in sets])


def images_of(dataset: ImageDataset) -> list[Any]:
    """Images of a data set, without labels."""
    return [dataset[place][0] for place in range(len(dataset))]


def caltech(data: Path, split: str) -> tuple[list[Image.Image], np.ndarray]:
    """Photographs of Caltech-101 and their labels ``(n,)``, of ``"train"`` or ``"test"``."""
    with np.load(data / "caltech101_64" / "caltech101_64.npz") as file:
        jpeg, offsets, labels, is_test = file["jpeg"], file["offsets"], file["label"], file["split"] == 1
    rows = np.flatnonzero(is_test == (split == "test"))
    images = [Image.open(io.BytesIO(jpeg[offsets[row] : offsets[row + 1]].tobytes())).convert("RGB") for row in rows]
    return images, labels[rows].astype(np.int64)


def pixels(images: Iterable[Any]) -> Tensor:
    """Bytes ``(n, 3, 64, 64)`` of images of any size."""
    return torch.stack([(fit_image(image_to_tensor(i), SIDE, 3) * 255).round().to(torch.uint8) for i in images])
