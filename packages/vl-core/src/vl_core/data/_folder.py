"""Image folders: flat or one sub-folder per class, optionally inside train/, val/ and test/."""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from vl_core.data._contents import ImageContents
from vl_core.data._image import read_image
from vl_core.data._modes import PixelRange
from vl_core.data._splits import plain_split, select_splits

SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm"),
    *(".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)


class FileImages:
    """Reads images from files lazily."""

    def __init__(self, paths: Sequence[Path], pixel_range: PixelRange | None = None) -> None:
        self.paths = tuple(paths)
        self.pixel_range = pixel_range

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image.Image:
        return read_image(self.paths[index], pixel_range=self.pixel_range)


def open_folder(
    root: Path, split: str | None, exclude: Path | None = None, pixel_range: PixelRange | None = None
) -> ImageContents:
    """Images below a folder, in natural order (``img2`` before ``img10``), named by their path inside it.

    Sub-folders are splits where each one that holds images is named like one (train, val, valid, validation, test)
    and no image lies beside them; otherwise they are classes, with images at any depth inside. Classes are numbered
    over all splits together. Without sub-folders the label is -1. Hidden files, folders without images and the folder
    ``exclude`` are left out without a word; files that are not named like images are listed in ``passed_over``.

    A link to a file is an image like any other. A link to a folder is followed where that folder lies elsewhere, and
    listed in ``passed_over`` where it is read already: a folder inside ``root`` has its own name there, and of two
    links to one folder the first counts. So no image is read twice, and links may run in circles.

    Raises:
        ValueError: If there is no image, or images lie beside class folders.
    """
    tree, left_out = _scan(root, exclude)
    parts = _splits_of(tree)
    if not parts and not tree.below():
        raise _no_images(str(root), left_out)
    # First, since images that lie in the way are the reason why a folder has no splits.
    found = {name: _by_class(folder) for name, folder in (parts or {"": tree}).items()}
    chosen = select_splits(split, parts, str(root), _why_undivided(tree))
    classes = sorted({label for images in found.values() for label in images if label is not None}, key=_natural)
    number = {label: index for index, label in enumerate(classes)}
    if parts:
        others = {name for name in parts if name not in chosen}
        left_out = [(name, reason) for name, reason in left_out if name.split("/")[0] not in others]

    paths: list[Path] = []
    labels: list[int] = []
    for part in chosen or [""]:
        for label, images in found[part].items():
            paths += images
            labels += [-1 if label is None else number[label]] * len(images)
    if not paths:
        raise _no_images(str(root) if split is None else f"split {split!r} of {root}", left_out)
    return ImageContents(
        FileImages(paths, pixel_range),
        labels,
        name=str(root),
        split=split,
        classes=classes,
        names=[path.relative_to(root).as_posix() for path in paths],
        passed_over=left_out,
    )


def find_images(root: Path, exclude: Path | None = None) -> tuple[list[Path], list[tuple[str, str]]]:
    """Find the images at any depth below a folder, whatever its sub-folders are called, without reading them.

    Hidden files and folders are left out without a word, and links are followed as `vl_core.data.open_dataset` does.

    Args:
        root: The folder.
        exclude: A folder inside that is passed over.

    Returns:
        The images in natural order (``img2`` before ``img10``); and the path inside the folder, with the reason, of
        each file or folder that was passed over, such as those that are not named like an image.
    """
    tree, left_out = _scan(root, exclude)
    return tree.below(), left_out


def count_reasons(left_out: Iterable[tuple[str, str]]) -> str:
    """The reasons why files are passed over, the most frequent first, with the number of files."""
    return ", ".join(f"{count} {reason}" for reason, count in Counter(reason for _, reason in left_out).most_common())


def _no_images(where: str, left_out: Sequence[tuple[str, str]]) -> ValueError:
    passed = f"; passed over {count_reasons(left_out)}" if left_out else ""
    return ValueError(f"{where} holds no images; looked for files named {', '.join(SUFFIXES)}{passed}")


@dataclass
class _Folder:
    path: Path
    real: Path
    images: list[Path] = field(default_factory=list)
    folders: list[_Folder] = field(default_factory=list)

    def below(self) -> list[Path]:
        """Images at any depth, in natural order."""
        found, todo = list(self.images), list(self.folders)
        while todo:
            folder = todo.pop()
            found += folder.images
            todo += folder.folders
        return sorted(found, key=lambda path: _natural(path.relative_to(self.path).as_posix()))


def _scan(root: Path, exclude: Path | None) -> tuple[_Folder, list[tuple[str, str]]]:
    """Every folder below `root` once, and what is passed over, with the reason."""
    # As a real path, so that it is known by whatever way it is reached.
    exclude = None if exclude is None else exclude.resolve()
    tree = _Folder(root, root.resolve())
    seen, todo, left_out = {tree.real}, deque([tree]), []
    while todo:
        folder = todo.popleft()
        with os.scandir(folder.path) as entries:
            by_name = sorted(
                (entry for entry in entries if not entry.name.startswith(".")), key=lambda e: _natural(e.name)
            )
        for entry in by_name:
            path = folder.path / entry.name
            # A link that leads nowhere is no folder, whatever stands in the way.
            if path.is_dir() if entry.is_symlink() else entry.is_dir():
                real = path.resolve() if entry.is_symlink() else folder.real / entry.name
                inside = entry.is_symlink() and (real.is_relative_to(tree.real) or tree.real.is_relative_to(real))
                if real == exclude:
                    continue
                if inside or real in seen:
                    left_out.append((path.relative_to(root).as_posix(), "linked to a folder that is read already"))
                    continue
                seen.add(real)
                folder.folders.append(_Folder(path, real))
                todo.append(folder.folders[-1])
            elif (suffix := path.suffix.lower()) in SUFFIXES:
                folder.images.append(path)
            else:
                left_out.append(
                    (path.relative_to(root).as_posix(), f"named {suffix}" if suffix else "without a suffix")
                )
    return tree, left_out


def _splits_of(tree: _Folder) -> dict[str, _Folder]:
    """Sub-folders that are splits, by name; empty if any of them is a class or images lie beside them."""
    folders = {folder.path.name: folder for folder in tree.folders}
    splits = {name: folder for name, folder in folders.items() if _is_split(name)}
    strangers = [name for name, folder in folders.items() if name not in splits and folder.below()]
    return {} if strangers or tree.images else splits


def _why_undivided(tree: _Folder) -> str:
    """The folder that lies beside those that are named like splits, for an error; empty if none are."""
    names = [folder.path.name for folder in tree.folders if folder.below()]
    others = [name for name in names if not _is_split(name)]
    if not others or len(others) == len(names):
        return ""
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f"{others[0]!r}{more} beside {', '.join(repr(name) for name in names if _is_split(name))} makes them classes"


def _is_split(name: str) -> bool:
    return plain_split(name) in ("train", "val", "test")


def _by_class(folder: _Folder) -> dict[str | None, list[Path]]:
    """Images of one split by class; the only key is None if there are no classes."""
    inside: dict[str | None, list[Path]] = {}
    for sub in folder.folders:
        if images := sub.below():
            inside[sub.path.name] = images
    loose = folder.images
    if loose and inside:
        kind = "split" if all(_is_split(str(name)) for name in inside) else "class"
        raise ValueError(
            f"{folder.path} holds images ({loose[0].name}, {len(loose)} in all) beside {kind} folders "
            f"({next(iter(inside))}, {len(inside)} in all); move the images into a {kind} folder or elsewhere"
        )
    return {None: loose} if loose else inside


def _natural(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key that orders digits by value, then by text (``1`` before ``01``)."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(p), "") if p[0] in "0123456789" else (1, 0, p.casefold()) for p in pieces), text
