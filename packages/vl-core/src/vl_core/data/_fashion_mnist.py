"""The full Fashion-MNIST from a local copy; nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vl_core.data._arrays import ArrayImages
from vl_core.data._builtin import FASHION_CLASSES
from vl_core.data._contents import ImageContents
from vl_core.data._splits import select_splits
from vl_core.data.idx import read_idx

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_ORIGINAL = {"train": "train", "test": "t10k"}


def places() -> list[Path]:
    """Folders searched, in order: `$VL_DATA`, Debian's package, torchvision's folder below the working directory."""
    found = []
    if root := os.environ.get("VL_DATA"):
        found += [Path(root) / "fashion_mnist", Path(root) / "FashionMNIST" / "raw"]
    return [*found, DEBIAN, Path("data") / "FashionMNIST" / "raw"]


def open_fashion_mnist(split: str | None) -> ImageContents:
    """60,000 training and 10,000 test images, 28 x 28 gray, ten classes, in the original order.

    Raises:
        FileNotFoundError: If no place has the four files, gzip-compressed or plain.
        ValueError: If a file is damaged, or images and labels do not belong together.
    """
    folder = _find()
    pixels, labels, names = [], [], []
    for part in select_splits(split, _ORIGINAL, "fashion-mnist"):
        images_path = _file(folder, part, "images-idx3-ubyte")
        labels_path = _file(folder, part, "labels-idx1-ubyte")
        assert images_path is not None
        assert labels_path is not None
        pixels.append(read_idx(images_path))
        labels.append(read_idx(labels_path))
        if pixels[-1].ndim != 3 or labels[-1].shape != pixels[-1].shape[:1]:
            raise ValueError(
                f"{images_path} and {labels_path} must hold (n, H, W) images and (n,) labels, "
                f"got {pixels[-1].shape} and {labels[-1].shape}; fetch them again"
            )
        names += [f"fashion-mnist/{part}/{index:05d}" for index in range(len(labels[-1]))]
    return ImageContents(
        ArrayImages(np.concatenate(pixels)),
        np.concatenate(labels),
        name="fashion-mnist",
        split=split,
        classes=FASHION_CLASSES,
        names=names,
    )


def _file(folder: Path, part: str, kind: str) -> Path | None:
    for name in (f"{_ORIGINAL[part]}-{kind}.gz", f"{_ORIGINAL[part]}-{kind}"):
        if (folder / name).is_file():
            return folder / name
    return None


def _find() -> Path:
    for folder in places():
        if all(_file(folder, part, kind) for part in _ORIGINAL for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")):
            return folder
    looked = ", ".join(str(folder) for folder in places())
    raise FileNotFoundError(
        f"fashion-mnist was not found in {looked}; get it with `apt install dataset-fashion-mnist` or "
        "`torchvision.datasets.FashionMNIST('data', download=True)`, or set VL_DATA to a folder that holds "
        "fashion_mnist/ with the four original files; the smaller set 'fashion' needs nothing"
    )
