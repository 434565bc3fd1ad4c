"""Image files with captions: a text file beside each image, or one captions file for all."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from vl_core.data import find_images, read_image, select_splits
from vl_core.progress import progress_bar

from vl_vlm.captions.contents import Contents
from vl_vlm.captions.tables import read_table
from vl_vlm.captions.texts import CaptionError, captions_of, decode, lines

_log = logging.getLogger(__name__)

# Text files that lie beside images and are no captions.
_NOTES = ("readme", "license", "licence", "notice")


class FileImages:
    """Reads images below a folder.

    Args:
        root: The folder.
        names: Paths inside it.
    """

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self._root = root
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Image.Image:
        return read_image(self._root / self._names[index])


def open_text_files(
    root: Path, exclude: Path | None = None, *, most: int | None = None, progress: bool = False
) -> Contents:
    """Images at any depth below a folder, the captions of ``name.jpg`` in ``name.txt`` beside it, one a line.

    An image without captions and a text without image are skipped, but for texts named like a README or a license.

    Args:
        root: The folder.
        exclude: A folder inside that is passed over.
        most: The number of text files that are read; by default all. The images behind them are left out.
        progress: Show progress.

    Raises:
        ValueError: If there is no image, or no text.
    """
    paths, left_out = find_images(root, exclude)
    if not paths:
        raise ValueError(f"{root} holds no images; give a folder of images with captions")
    texts = {name for name, _ in left_out if name.lower().endswith(".txt")}
    if not texts:
        raise ValueError(
            f"{root} holds {len(paths)} images and no captions; put a .txt beside each, or give a captions file "
            "(.json, .jsonl, .csv, .tsv) and the folder of its images by images="
        )
    found: dict[str, list[str]] = {}
    skipped: list[tuple[str, str]] = []
    read: set[str] = set()
    for path in progress_bar(paths, desc="captions", unit="files", disable=not progress):
        name, beside = path.relative_to(root).as_posix(), path.with_suffix(".txt")
        place = f"{name[: -len(path.suffix)]}.txt"
        if place not in texts:
            skipped.append((name, f"has no caption, which would be {beside.name} beside it"))
            continue
        read.add(place)
        if most is not None and len(found) >= most:
            continue
        try:
            found[name] = captions_of(lines(decode(beside.read_bytes())))
        except CaptionError as error:
            skipped.append((name, f"{error}, in {beside.name}"))
        except OSError as error:
            skipped.append((name, f"has captions that cannot be read ({error.strerror}), in {beside.name}"))
    alone = sorted(name for name in texts - read if not Path(name).stem.lower().startswith(_NOTES))
    skipped += [(name, "has no image beside it") for name in alone]
    others = len(left_out) - len(texts)
    if others:
        _log.warning("passed over %d files of %s that are neither images nor .txt", others, root)
    return Contents(str(root), FileImages(root, list(found)), list(found.values()), list(found), skipped)


def open_table(
    path: Path,
    root: Path,
    *,
    split: str | None = None,
    caption_column: str | None = None,
    image_column: str | None = None,
) -> Contents:
    """Images that a captions file names, in the order in which it names them first; see `read_table`.

    Rows of one image are joined.

    Args:
        path: The captions file.
        root: Folder to which its paths are relative.
        split: Of those that the rows name.
        caption_column: Field of the captions.
        image_column: Field of the file.

    Raises:
        ValueError: If the file is of another form, or a path leads out of the folder.
    """
    table = read_table(path, caption_column, image_column)
    parts = {entry.split for entry in table.entries if entry.split is not None}
    wanted = set(select_splits(split, parts, str(path)))
    raw: dict[str, list[object]] = {}
    for entry in table.entries:
        if split is None or entry.split in wanted:
            value = entry.captions
            raw.setdefault(_inside(path, root, entry.file), []).extend(value if isinstance(value, list) else [value])
    if not raw:
        raise ValueError(f"{path} names no images; give a file with a caption or more for each image")
    found: dict[str, list[str]] = {}
    skipped = list(table.skipped)
    for name, captions in raw.items():
        try:
            found[name] = captions_of(captions)
        except CaptionError as error:
            skipped.append((name, f"{error}, in {path.name}"))
            continue
        if not (root / name).is_file():
            skipped.append((name, f"is named by {path.name} and is no file in {root}"))
            del found[name]
    if not found and len(raw) > 1:
        raise ValueError(
            f"{path} names {len(raw)} images, of which none is in {root} with a caption; the first: {skipped[0][0]} "
            f"{skipped[0][1]}; name the folder of the images by images="
        )
    return Contents(str(path), FileImages(root, list(found)), list(found.values()), list(found), skipped)


def note_unnamed(contents: Contents, root: Path, exclude: Path | None) -> None:
    """Log how many images below a folder its captions file does not name."""
    known = {*contents.names, *(name for name, _ in contents.skipped)}
    unnamed = [path for path in find_images(root, exclude)[0] if path.relative_to(root).as_posix() not in known]
    if unnamed:
        _log.warning(
            "%s does not name %d images of its folder, the first is %s", contents.name, len(unnamed), unnamed[0].name
        )


def _inside(path: Path, root: Path, file: str) -> str:
    """Path of an entry inside the folder.

    Raises:
        ValueError: If it leads out of it.
    """
    inside = Path(os.path.normpath(os.path.relpath(file, root) if os.path.isabs(file) else file))  # noqa: PTH117
    if inside.is_absolute() or not inside.parts or inside.parts[0] == "..":
        raise ValueError(f"{path} must name images inside {root}, got {file!r}; name their folder by images=")
    return inside.as_posix()
