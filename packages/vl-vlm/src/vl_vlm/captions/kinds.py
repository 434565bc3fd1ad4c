"""The kinds of captioned data sets, and opening one of any kind without PyTorch."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vl_core.data import BUILTIN_NAMES, ImageContents, UndividedError, open_contents, select_splits

from vl_vlm.captions.contents import Contents, join
from vl_vlm.captions.folder import note_unnamed, open_table, open_text_files
from vl_vlm.captions.parquet import open_parquet_files
from vl_vlm.captions.paths import expand, labels, natural
from vl_vlm.captions.shards.samples import open_shards
from vl_vlm.captions.tables import TABLE_SUFFIXES

UNDERSTOOD = (
    "a folder of images with captions, a captions file (.json, .jsonl, .csv, .tsv), Parquet files, .tar shards, or the "
    "built-in 'emoji'"
)

_IMAGES = (".jpg", ".jpeg", ".png", ".webp")
_SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
_PREFIX = re.compile(rf"({'|'.join(sorted(_SPLITS, key=len, reverse=True))})[-_.]", re.IGNORECASE)
_COMPRESSED = re.compile(r"\.(tgz|tbz2|txz|tar\.(gz|bz2|xz|zst|zstd))$", re.IGNORECASE)


_READ_QUICKLY = 100


@dataclass(frozen=True)
class Request:
    """Arguments of opening; `open_captions` explains each."""

    split: str | None = None
    images: Path | None = None
    caption_column: str | None = None
    image_column: str | None = None
    exclude: Path | None = None
    limit: int | None = None
    progress: bool = False
    quick: bool = False
    """Look into the first of several Parquet files or shards alone, and into few of many text files."""


def open_caption_contents(spec: str | os.PathLike[str], request: Request, default_split: str | None = None) -> Contents:
    """Open a data set of any kind; see `vl_vlm.open_captions` for the arguments and errors."""
    if request.split is None and default_split is not None:
        try:
            return _open(spec, replace(request, split=default_split))
        except UndividedError:
            pass
    return _open(spec, request)


def _open(spec: str | os.PathLike[str], request: Request) -> Contents:
    text = os.fspath(spec)
    if isinstance(spec, str):
        if spec in BUILTIN_NAMES or spec.startswith("hf:"):
            return _labeled(spec, request)
        if "://" in spec or spec.startswith("pipe:"):
            raise ValueError(
                f"spec must be {UNDERSTOOD}, got the address {spec!r}; samples are read by their position, so copy the "
                "files to a local folder first"
            )
        several = expand(spec)
        if several is not None:
            return _files(several, spec, request)
    path = Path(text)
    if path.is_dir():
        return _folder(path, request)
    if path.is_file():
        return _files([path], str(path), request)
    close = difflib.get_close_matches(text.lower(), BUILTIN_NAMES, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise FileNotFoundError(f"spec must be {UNDERSTOOD}, but there is no file or folder {text!r}{hint}")


def _files(paths: Sequence[Path], name: str, request: Request) -> Contents:
    """Files that were named themselves."""
    suffixes = {path.suffix.lower() for path in paths}
    if len(suffixes) > 1:
        raise ValueError(f"spec must name files of one kind, got {', '.join(sorted(suffixes))} in {name!r}")
    suffix = suffixes.pop()
    if compressed := [path for path in paths if _COMPRESSED.search(path.name)]:
        raise ValueError(
            f"spec must name tar files that are not compressed, in which samples are read by their position, got "
            f"{compressed[0]}; decompress it first (the images in it are compressed already)"
        )
    if suffix in (".parquet", ".tar"):
        return _bundles(paths, name, request, suffix)
    if suffix in TABLE_SUFFIXES and len(paths) == 1:
        return _table(paths[0], request)
    if suffix == ".npz" and len(paths) == 1:
        return _labeled(str(paths[0]), request)
    raise ValueError(f"spec must be {UNDERSTOOD}, got {'the file' if len(paths) == 1 else 'files like'} {paths[0]}")


def _folder(folder: Path, request: Request) -> Contents:
    """A folder, by what lies in it."""
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _labeled(str(folder), request)
    exclude = None if request.exclude is None else request.exclude.resolve()
    with os.scandir(folder) as found:
        entries = [entry for entry in found if not entry.name.startswith(".")]
    files = {entry.name for entry in entries if entry.is_file()}
    for suffix in (".tar", ".parquet"):
        if bundles := [folder / name for name in files if name.lower().endswith(suffix)]:
            return _bundles(natural(bundles), str(folder), request, suffix)
    if compressed := [folder / name for name in files if _COMPRESSED.search(name)]:
        return _files(natural(compressed), str(folder), request)
    tables = natural(folder / name for name in files if name.lower().endswith(TABLE_SUFFIXES))
    named = [path for path in tables if path.stem.lower() in ("captions", "metadata")]
    if len(named) == 1:
        return _table(named[0], request, folder)
    folders = {entry.name: folder / entry.name for entry in entries if entry.is_dir()}
    folders = {name: path for name, path in folders.items() if path.resolve() != exclude}
    if not named and folders and all(name.lower() in _SPLITS for name in folders) and not _names_images(files):
        return _parts(folder, folders, request)
    # As Hugging Face repositories are laid out.
    data = folder / "data"
    if data.is_dir() and any(path.suffix.lower() in (".tar", ".parquet") for path in data.iterdir()):
        return _folder(data, request)
    beside = not named and _has_texts(files)
    if len(tables) > 1 and not beside:
        raise ValueError(
            f"{folder} must hold one captions file, got {', '.join(path.name for path in tables[:5])}; give the file "
            "itself"
        )
    if tables and not beside:
        return _table(tables[0], request, folder)
    select_splits(request.split, (), str(folder))
    most = _READ_QUICKLY if request.quick else None
    return open_text_files(folder, request.exclude, most=most, progress=request.progress)


def _parts(folder: Path, parts: dict[str, Path], request: Request) -> Contents:
    """Sub-folders that are splits."""
    chosen = select_splits(request.split, parts, str(folder))
    whole = replace(request, split=None)
    return join(str(folder), {f"{name}/": _folder(parts[name], whole) for name in chosen})


def _table(path: Path, request: Request, folder: Path | None = None) -> Contents:
    root = path.parent if request.images is None else request.images
    if not root.is_dir():
        raise FileNotFoundError(f"images must be the folder of the images, but there is no folder {root}")
    contents = open_table(
        path,
        root,
        split=request.split,
        caption_column=request.caption_column,
        image_column=request.image_column,
    )
    if folder is not None and request.split is None and not request.quick:
        note_unnamed(contents, root, request.exclude)
    return contents


def _bundles(paths: Sequence[Path], name: str, request: Request, suffix: str) -> Contents:
    """Parquet files or shards; where all names begin with a split's, those are the splits."""
    prefixes = [_PREFIX.match(path.name) for path in paths]
    split = request.split
    if all(prefixes):
        owners = [str(found[1]) for found in prefixes if found]
        wanted = select_splits(split, set(owners), name)
        paths = [path for path, owner in zip(paths, owners, strict=True) if owner in wanted]
        split = None
    own = labels(paths)
    if request.quick:
        paths = paths[:1]
    if suffix == ".tar":
        select_splits(split, (), name)
        return open_shards(paths, own[: len(paths)], name=name, limit=request.limit, progress=request.progress)
    return open_parquet_files(
        paths,
        own[: len(paths)],
        name=name,
        split=split,
        caption_column=request.caption_column,
        image_column=request.image_column,
        progress=request.progress,
    )


class _Unlabeled:
    """Images of a labeled data set, without labels."""

    def __init__(self, contents: ImageContents) -> None:
        self._contents = contents

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, index: int) -> Any:
        return self._contents[index][0]


def _labeled(spec: str, request: Request) -> Contents:
    """Contents that `vl_core.data.open_dataset` opens, with the captions that it finds."""
    opened = open_contents(spec, request.split, exclude=request.exclude)
    if opened.captions is None:
        raise ValueError(f"{opened.name} has no captions; spec must be {UNDERSTOOD}")
    names, metadata = opened.names, None if opened.metadata is None else list(opened.metadata)
    every = Contents(opened.name, _Unlabeled(opened), [[text] for text in opened.captions], list(names), [], metadata)
    blank = {index for index, text in enumerate(opened.captions) if not text.strip()}
    every.skipped = [(names[index], "has no caption") for index in sorted(blank)]
    return every.take(index for index in range(len(opened)) if index not in blank) if blank else every


def _names_images(names: Iterable[str]) -> bool:
    return any(name.lower().endswith(_IMAGES) for name in names)


def _has_texts(names: Set[str]) -> bool:
    """True if a text file of the same name lies beside an image."""
    return any(f"{name.rpartition('.')[0]}.txt" in names for name in names if _names_images([name]))
