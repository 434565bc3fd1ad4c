"""The sets of images below `$VL_DATA` that do not ship, as data sets."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from vl_core.data import ImageDataset, open_dataset, read_image
from vl_core.files import DEFLATE_RATIO, parse_json, read_array

EMOJI_CREDITS = {
    "noto": ("googlefonts/noto-emoji", "Apache-2.0"),
    "twemoji": ("jdecked/twemoji, Twitter and other contributors", "CC BY 4.0"),
    "openmoji": ("hfg-gmuend/openmoji", "CC BY-SA 4.0"),
    "fluent": ("microsoft/fluentui-emoji", "MIT"),
}
"""Author and license of the drawings of each style, here and in `vl_core.data`."""

FASHION_CREDIT = ("Zalando SE", "MIT")
"""Author and license of Fashion-MNIST."""

EMOJI_STYLES = tuple(EMOJI_CREDITS)

_FILES = (
    "caltech101_64/caltech101_64.npz",
    "openclipart_64/openclipart_64.npz",
    "openclipart_64/items.jsonl",
    "emoji_styles/concepts.jsonl",
    *(f"emoji_styles/{style}_64.npz" for style in EMOJI_STYLES),
)


def data_folder() -> Path:
    """The folder `$VL_DATA`, with all files of the web of the study.

    Raises:
        FileNotFoundError: If the variable is not set, or a file is missing.
    """
    root = os.environ.get("VL_DATA", "")
    if not root:
        raise FileNotFoundError(
            "name must be 'builtin' where VL_DATA is not set, got 'full'; set VL_DATA to the folder with "
            "caltech101_64/, openclipart_64/ and emoji_styles/"
        )
    if missing := [name for name in _FILES if not (Path(root) / name).is_file()]:
        raise FileNotFoundError(
            f"VL_DATA must hold {missing[0]} for the world 'full', {root} does not; open 'builtin', which ships"
        )
    return Path(root)


class _Jpegs:
    """Images in JPEG files that lie end to end in one array."""

    def __init__(self, content: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        self.content = content
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Image.Image:
        return read_image(self.content[self.offsets[index] : self.offsets[index + 1]].tobytes())


def open_photographs(root: Path) -> ImageDataset:
    """Caltech-101 at 64 x 64 without faces: 7,807 photographs of 99 classes, with their split as metadata."""
    path = root / "caltech101_64" / "caltech101_64.npz"
    arrays = {key: _array(path, key) for key in ("jpeg", "offsets", "label", "split", "classes", "name")}
    return ImageDataset(
        _Jpegs(arrays["jpeg"], arrays["offsets"].astype(np.int64)),
        arrays["label"],
        name="caltech101",
        names=[f"caltech101/{name}" for name in arrays["name"]],
        classes=[str(name) for name in arrays["classes"]],
        captions=[str(arrays["classes"][label]).replace("_", " ") for label in arrays["label"]],
        metadata=[{"split": "test" if part else "train", "license": "CC BY 4.0"} for part in arrays["split"]],
    )


def open_clip_art(root: Path) -> ImageDataset:
    """Openclipart: 3,502 drawings with title and keywords, and their path as metadata."""
    folder = root / "openclipart_64"
    items = _lines(folder / "items.jsonl")
    images = open_dataset(folder / "openclipart_64.npz")
    return _described(
        images,
        "openclipart",
        [f"openclipart/{item['path']}" for item in items],
        [" ".join([item["title"], *item["keywords"]]) for item in items],
        [{"path": item["path"], "author": item["creator"], "license": "Public Domain"} for item in items],
    )


def open_emoji_style(root: Path, style: str) -> ImageDataset:
    """Emoji of one designer at 64 x 64, with label and tags as captions; metadata are groups, author and license."""
    path = root / "emoji_styles" / f"{style}_64.npz"
    concepts = {item["hexcode"]: item for item in _lines(path.with_name("concepts.jsonl"))}
    entries = [concepts[str(code)] for code in _array(path, "hexcode")]
    credit = dict(zip(("author", "license"), EMOJI_CREDITS[style], strict=True))
    return _described(
        open_dataset(path),
        f"emoji64:{style}",
        [f"emoji64/{style}/{entry['hexcode']}" for entry in entries],
        [" ".join([entry["label"], *entry["tags"]]) for entry in entries],
        [{"group": entry["group"], "subgroup": entry["subgroup"], **credit} for entry in entries],
    )


def _described(
    images: ImageDataset, name: str, names: list[str], captions: list[str], metadata: list[dict[str, Any]]
) -> ImageDataset:
    """The images of an archive with names, captions and metadata from elsewhere."""
    if len(images) != len(names):
        raise ValueError(f"{images.name} must have {len(names)} images like its list, got {len(images)}")
    result = images.subset(range(len(images)))
    result.name, result.names, result.captions, result.metadata = name, tuple(names), tuple(captions), tuple(metadata)
    return result


def _lines(path: Path) -> list[Mapping[str, Any]]:
    texts = path.read_text(encoding="utf-8").splitlines()
    return [parse_json(text, f"{path}, line {number}") for number, text in enumerate(texts, 1)]


def _array(path: Path, key: str) -> npt.NDArray[Any]:
    """One array of an archive, whose size is checked before memory is taken."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{key}.npy")
        if info.file_size > DEFLATE_RATIO * path.stat().st_size:
            raise ValueError(f"array {key!r} of {path} declares {info.file_size:,} bytes; fetch the file again")
        with archive.open(info) as member:
            return read_array(member, info.file_size, f"array {key!r} of {path}")
