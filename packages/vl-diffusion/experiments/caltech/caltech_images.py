"""Ten classes of Caltech-101 as 64x64 photographs, for the scripts that train and evaluate on them.

The images are read from a file that is not committed. The ten classes are those with the most images, so that none is
hand-picked; the file leaves out the faces, whose two classes show the same people.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

CLASSES = 10
DATA = Path("../shared/data/caltech101_64/caltech101_64.npz")


@dataclass(frozen=True)
class Images:
    """Photographs of some classes."""

    images: Tensor
    """Bytes ``(N, 3, 64, 64)``."""
    labels: Tensor
    """Index of each image's class in `classes`, int64 ``(N,)``."""
    classes: tuple[str, ...]
    """Names, the largest class first."""

    def __getitem__(self, chosen: Tensor) -> Images:
        """Select images by a mask or by indices."""
        return Images(self.images[chosen], self.labels[chosen], self.classes)

    def __len__(self) -> int:
        return len(self.labels)


def largest_classes(labels: np.ndarray, count: int = CLASSES) -> np.ndarray:
    """Return the `count` most frequent of ``labels``, most frequent first, the smaller label first of equals."""
    return np.argsort(-np.bincount(labels), kind="stable")[:count]


def read_images(path: Path, split: str) -> Images:
    """Read the images of the ten largest classes.

    Args:
        path: ``caltech101_64.npz``: JPEG bytes end to end in ``jpeg``, with ``offsets``, ``label``, ``split`` (0 train,
            1 test) and ``classes``.
        split: ``"train"`` or ``"test"``, the file's own.
    """
    with np.load(path) as file:
        jpeg, offsets, names = file["jpeg"], file["offsets"], file["classes"]
        label, is_test = file["label"].astype(np.int64), file["split"] == 1
    # Both splits count, so that train and test agree on the classes.
    chosen = largest_classes(label)
    rows = np.flatnonzero(np.isin(label, chosen) & (is_test == (split == "test")))
    files = (io.BytesIO(jpeg[offsets[i] : offsets[i + 1]].tobytes()) for i in rows)
    decoded = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    place = {int(one): index for index, one in enumerate(chosen)}
    return Images(
        torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).contiguous(),
        torch.tensor([place[int(label[i])] for i in rows]),
        # The file writes some names with a capital and with underscores.
        tuple(str(names[one]).replace("_", " ").lower() for one in chosen),
    )


def put_aside(images: Images, share: int = 5) -> tuple[Images, Images]:
    """Split off every `share`-th image of each class as a validation set; return the kept ones and the set."""
    aside = torch.zeros(len(images), dtype=torch.bool)
    for label in range(len(images.classes)):
        aside[(images.labels == label).nonzero().flatten()[share - 1 :: share]] = True
    return images[~aside], images[aside]


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the data."""
    parser.add_argument("--data", type=Path, default=DATA, help="caltech101_64.npz of the shared data")
    parser.add_argument("--validate", action="store_true", help="evaluate on every fifth training image")


def draw_indices(labels: Tensor, batch: int, *, balance: float, generator: torch.Generator) -> Tensor:
    """Draw indices ``(batch,)`` of training images: images equally likely with `balance` 0, classes with 1."""
    counts = labels.bincount().float()
    return torch.multinomial(counts[labels] ** -balance, batch, replacement=True, generator=generator)


def augment(images: Tensor, *, generator: torch.Generator) -> Tensor:
    """Mirror, move, scale and tint images ``(B, 3, H, W)`` in -1..1, each at random.

    Half are mirrored; they move by up to a twelfth of their side, are scaled by up to 12 %, and their contrast,
    brightness and color change by a few per cent. The border is replicated.
    """
    batch = len(images)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator) * 2 - 1

    scale = torch.exp(0.12 * uniform())
    affine = torch.zeros(batch, 2, 3)
    affine[:, 0, 0] = scale * uniform().sign()
    affine[:, 1, 1] = scale
    affine[:, :, 2] = uniform(2) / 6  # of half the side
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)
    tinted = moved * (1 + 0.1 * uniform(1, 1, 1)) + 0.1 * uniform(1, 1, 1) + 0.04 * uniform(3, 1, 1)
    return tinted.clamp(-1, 1)


def normalize(images: Tensor) -> Tensor:
    """Convert bytes to float32 in -1..1."""
    return images.float().div(127.5).sub(1)
