"""Image folders: flat or one sub-folder per class, optionally inside train/, val/ and test/."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from vl_core.data._dataset import ImageDataset
from vl_core.data._image import read_image
from vl_core.data._splits import plain_split, select_splits

SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm"),
    *(".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)


class FileImages:
    """Reads images from files lazily."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image.Image:
        return read_image(self.paths[index])


def open_folder(root: Path, split: str | None, exclude: Path | None = None) -> ImageDataset:
    """Images below a folder, in natural order (``img2`` before ``img10``), named by their path inside it.

    Sub-folders are splits where each one that holds images is named like one (train, val, valid, validation, test)
    and no image lies beside them; otherwise they are classes, with images at any depth inside. Classes are numbered
    over all splits together. Without sub-folders the label is -1. Hidden files, files that are not named like images,
    and folders without images are passed over, and so is the folder ``exclude`` where it lies below.

    Raises:
        ValueError: If there is no image, or images lie beside class folders.
    """
    # As a real path, so that it is known by whatever way it is reached.
    exclude = None if exclude is None else exclude.resolve()
    parts = _split_folders(root, exclude)
    chosen = select_splits(split, parts, str(root))
    found = {name: _by_class(folder, exclude) for name, folder in (parts or {"": root}).items()}
    classes = sorted({label for images in found.values() for label in images if label is not None}, key=_natural)
    number = {label: index for index, label in enumerate(classes)}

    paths: list[Path] = []
    labels: list[int] = []
    for part in chosen or [""]:
        for label, images in found[part].items():
            paths += images
            labels += [-1 if label is None else number[label]] * len(images)
    if not paths:
        where = root if split is None else f"split {split!r} of {root}"
        raise ValueError(f"{where} holds no images; looked for files named {', '.join(SUFFIXES)}")
    return ImageDataset(
        FileImages(paths),
        labels,
        name=str(root),
        split=split,
        classes=classes,
        names=[path.relative_to(root).as_posix() for path in paths],
    )


def _split_folders(root: Path, exclude: Path | None) -> dict[str, Path]:
    """Sub-folders that are splits, by name; empty if any of them is a class or images lie beside them."""
    folders = {folder.name: folder for folder in _subfolders(root, exclude)}
    splits = {name: folder for name, folder in folders.items() if plain_split(name) in ("train", "val", "test")}
    if not splits or _images_in(root):
        return {}
    strangers = [folder for name, folder in folders.items() if name not in splits and _images_below(folder, exclude)]
    return {} if strangers else splits


def _by_class(folder: Path, exclude: Path | None) -> dict[str | None, list[Path]]:
    """Images of one split by class; the only key is None if there are no classes."""
    inside: dict[str | None, list[Path]] = {}
    for sub in _subfolders(folder, exclude):
        if images := _images_below(sub, exclude):
            inside[sub.name] = images
    loose = _images_in(folder)
    if loose and inside:
        raise ValueError(
            f"{folder} holds images ({loose[0].name}, {len(loose)} in all) beside class folders "
            f"({next(iter(inside))}, {len(inside)} in all); move the images into a class folder or elsewhere"
        )
    return {None: loose} if loose else inside


def _natural(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key that orders digits by value, then by text (``1`` before ``01``)."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(p), "") if p[0] in "0123456789" else (1, 0, p.casefold()) for p in pieces), text


def _subfolders(folder: Path, exclude: Path | None) -> list[Path]:
    found = [path for path in folder.iterdir() if path.is_dir() and _is_wanted(path, exclude)]
    return sorted(found, key=lambda path: _natural(path.name))


def _is_wanted(folder: Path, exclude: Path | None) -> bool:
    return not folder.name.startswith(".") and (exclude is None or folder.resolve() != exclude)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 (a bare name)


def _images_in(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if _is_image(path.name) and not path.is_dir()]
    return sorted(found, key=lambda path: _natural(path.name))


def _images_below(folder: Path, exclude: Path | None) -> list[Path]:
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if _is_wanted(Path(where, name), exclude)]
        found += [Path(where, name) for name in files if _is_image(name)]
    return sorted(found, key=lambda path: _natural(path.relative_to(folder).as_posix()))
