"""The images of a store for others to use: WebDataset shards, Parquet files or a folder, with a manifest.

Every image is named by its content. The manifest says, a JSON line an image, where it came from, who made it and under
which license; an image without a license that is known is exported on request alone.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from vl_core.progress import progress_bar
from vl_core.runs import atomic_write
from vl_core.tables import write_parquet

from vl_explorer.store.rights.licenses import FREE, check_allow, is_allowed, strictest
from vl_explorer.store.rows import Source, StoredImage
from vl_explorer.store.store import Store

Format = Literal["webdataset", "parquet", "folder"]


@dataclass(frozen=True)
class Exported:
    """Counts and files of an export."""

    images: int
    """Images in it."""
    left_out: int
    """Images whose license is not allowed."""
    files: tuple[Path, ...]
    """Shards, Parquet files or images, in order; the manifest is beside them."""


@dataclass(frozen=True)
class _Item:
    image: StoredImage
    sources: tuple[Source, ...]
    path: Path

    @property
    def license(self) -> str:
        return strictest(source.license_id for source in self.sources)

    def described(self) -> dict[str, Any]:
        """Description for the manifest: attribution first, every source after it."""
        # The source that the license comes from, so that license, author and title belong together.
        chosen = next((source for source in self.sources if source.license_id == self.license), self.sources[0])
        keys = ("title", "author", "license_url", "url", "page_url")
        sources = [
            {"url": s.url, "page_url": s.page_url, "license": s.license, "license_id": s.license_id}
            | {"engine": s.engine, "query": s.query, "fetched_at": s.fetched_at}
            for s in self.sources
        ]
        return (
            {"sha256": self.image.sha256, "extension": self.image.extension, "license": self.license}
            | {key: getattr(chosen, key) for key in keys}
            | {"width": self.image.width, "height": self.image.height, "sources": sources}
        )


def export(
    store: Store,
    folder: str | os.PathLike[str],
    *,
    format: Format = "webdataset",
    allow: Collection[str] = FREE,
    leave_out: bool = False,
    images: Iterable[str] | None = None,
    images_per_file: int = 1000,
    progress: bool = True,
) -> Exported:
    """Export images with their attribution.

    An image found under several licenses counts as under the one that asks most. The same images give the same bytes,
    but for the times in the manifest. The manifest, ``manifest.jsonl``, is written last: an export without one was
    interrupted.

    Args:
        store: Not to be forgotten from or evicted from meanwhile.
        folder: Made where it is missing; must be empty.
        format: ``"webdataset"`` for ``images-000000.tar`` with an image and a ``.json`` each; ``"parquet"`` for
            ``images-000000.parquet`` with the columns ``image``, ``sha256``, ``license`` and attribution, which
            `vl_core.data.open_dataset` reads; ``"folder"`` for ``ab/cdef….jpg``.
        allow: Classes and identifiers of licenses, see `vl_explorer.store.rights.licenses.is_allowed`; by default those
            that allow any use. ``"unknown"`` allows images of which no license is known.
        leave_out: Leave other images out instead of refusing.
        images: SHA-256 of the images, such as `Store.best_images`; by default all whose files are there.
        images_per_file: Of each shard or Parquet file but the last.
        progress: Show progress.

    Raises:
        ModuleNotFoundError: If ``"parquet"`` is asked for and pyarrow is not installed.
        KeyError: If there is no such image.
        ValueError: If a license is not allowed, nothing is left, the folder is not empty, or an argument is out of
            range; nothing was written.
    """
    _check(format, allow, images_per_file)
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"folder must be empty, {folder} is not; choose another one")
    items = _items(store, images)
    chosen = [item for item in items if is_allowed(item.license, allow)]
    refused = [item for item in items if not is_allowed(item.license, allow)]
    if refused and not leave_out:
        names = sorted({item.license for item in refused})
        raise ValueError(
            f"allow must name the licenses of all images, {len(refused):,} of {len(items):,} have others: "
            f"{', '.join(names)[:300]}; name them or their classes, or give leave_out=True"
        )
    if not chosen:
        raise ValueError(f"images must leave something to export, got {len(items):,} of which none may be exported")
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    with progress_bar(total=len(chosen), desc="export", unit="images", disable=not progress) as bar:
        size = 1 if format == "folder" else images_per_file
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            files.append(_WRITERS[format](folder, len(files), part))
            bar.update(len(part))
    with atomic_write(folder / "manifest.jsonl") as manifest:
        for item in chosen:
            manifest.write(_line(item) + "\n")
    return Exported(len(chosen), len(refused), tuple(files))


def _check(format: str, allow: Collection[str], images_per_file: int) -> None:
    if format not in _WRITERS:
        raise ValueError(f"format must be one of {', '.join(_WRITERS)}, got {format!r}")
    if images_per_file < 1:
        raise ValueError(f"images_per_file must be at least 1, got {images_per_file}")
    check_allow(allow)


def _items(store: Store, images: Iterable[str] | None) -> list[_Item]:
    """The images to be considered, each once, in the order of their digests."""
    if images is None:
        found = [image for image in store.images() if image.stored]
    else:
        found = [store.image(digest) for digest in set(images)]
    return [
        _Item(image, tuple(store.sources(image.sha256)), store.path(image.sha256))
        for image in sorted(found, key=lambda image: image.sha256)
    ]


def _line(item: _Item) -> str:
    return json.dumps(item.described(), ensure_ascii=False)


def _write_shard(folder: Path, number: int, items: Sequence[_Item]) -> Path:
    path = folder / f"images-{number:06d}.tar"
    with atomic_write(path, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for item in items:
            described = item.described()
            for source in described["sources"]:
                del source["fetched_at"]  # the same images give the same shards
            _add(tar, f"{item.image.sha256}.{item.image.extension}", item.path.read_bytes())
            _add(tar, f"{item.image.sha256}.json", json.dumps(described, ensure_ascii=False).encode())
    return path


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # Without times or owners, which would make equal shards differ.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


class _Contents(Sequence[Any]):
    """Contents of files, read as they are asked for, so that a part of a Parquet file is in memory at most."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [path.read_bytes() for path in self._paths[index]]
        return self._paths[index].read_bytes()


def _write_parquet(folder: Path, number: int, items: Sequence[_Item]) -> Path:
    path = folder / f"images-{number:06d}.parquet"
    described = [item.described() for item in items]
    names = ("sha256", "license", "license_url", "author", "title", "url", "page_url")
    columns: dict[str, Any] = {"image": _Contents([item.path for item in items])}
    write_parquet(path, columns | {name: [row[name] for row in described] for name in names})
    return path


def _write_file(folder: Path, _: int, items: Sequence[_Item]) -> Path:
    (item,) = items
    path = folder / item.image.sha256[:2] / f"{item.image.sha256[2:]}.{item.image.extension}"
    path.parent.mkdir(exist_ok=True)
    file: IO[bytes]
    with atomic_write(path, "wb") as file:
        file.write(item.path.read_bytes())
    return path


_WRITERS: dict[str, Callable[[Path, int, Sequence[_Item]], Path]] = {
    "webdataset": _write_shard,
    "parquet": _write_parquet,
    "folder": _write_file,
}
