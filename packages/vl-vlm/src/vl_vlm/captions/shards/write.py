"""Write images with captions as WebDataset shards."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

from PIL import Image
from vl_core.data import ImageError
from vl_core.progress import progress_bar
from vl_core.runs import atomic_write

from vl_vlm.captions.captioned import CaptionedImage, CaptionedImages

ImageFormat = Literal["png", "jpg", "webp"]

# Each without loss, or nearly so; the bytes depend on nothing but the pixels and the version of Pillow.
_SAVE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "png": ("PNG", {}),
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    "webp": ("WEBP", {"lossless": True}),
}


def write_shards(
    dataset: CaptionedImages,
    folder: str | os.PathLike[str],
    *,
    samples_per_shard: int = 1000,
    image_format: ImageFormat = "png",
    progress: bool = True,
) -> list[Path]:
    """Write a data set as WebDataset shards: ``shard-000000.tar``, ``shard-000001.tar``, …

    Each sample is an image, ``.txt`` with its first caption on one line, and, where that does not say all, ``.json``
    with ``{"captions": [...]}``. Keys are positions in the data set; names of images and further fields (``metadata``)
    are not kept. The same data set gives the same bytes, and each shard takes its place in one step once it is whole.

    Args:
        dataset: Images with captions.
        folder: Made where it is missing; it may hold no shard yet.
        samples_per_shard: Of each shard but the last.
        image_format: ``"png"`` and ``"webp"`` keep every pixel of 8-bit images; ``"jpg"`` is smaller, of quality 95.
        progress: Show progress.

    Returns:
        The shards, in order.

    Raises:
        ImageError: If an image cannot be read; shards before it stay.
        ValueError: If the data set is empty, the folder holds shards, or another argument is out of range.

    Example:
        ``write_shards(open_captions("photos"), "photos-shards")``
    """
    if samples_per_shard < 1:
        raise ValueError(f"samples_per_shard must be at least 1, got {samples_per_shard}")
    if image_format not in _SAVE:
        raise ValueError(f"image_format must be one of {', '.join(map(repr, _SAVE))}, got {image_format!r}")
    if not len(dataset):
        raise ValueError("dataset must hold at least one image, got none")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if there := sorted(folder.glob("*.tar")):
        raise ValueError(
            f"folder must hold no shards, {folder} has {len(there)}, the first is {there[0].name}; choose another "
            "folder or remove them"
        )
    paths: list[Path] = []
    with progress_bar(total=len(dataset), desc="shards", unit="images", disable=not progress) as bar:
        for start in range(0, len(dataset), samples_per_shard):
            path = folder / f"shard-{len(paths):06d}.tar"
            with atomic_write(path, "wb") as file, _new_tar(file) as tar:
                for position in range(start, min(start + samples_per_shard, len(dataset))):
                    _add_sample(tar, f"{position:09d}", dataset[position], image_format)
                    # It keeps a record of every member, and is asked for none.
                    tar.members = []  # type: ignore[attr-defined]
                    bar.update(1)
            paths.append(path)
    return paths


def _new_tar(file: IO[bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)


def _add_sample(tar: tarfile.TarFile, key: str, item: CaptionedImage, image_format: str) -> None:
    _add(tar, f"{key}.{image_format}", _encoded(item.image, image_format, item.name))
    first = " ".join(item.captions[0].split())
    _add(tar, f"{key}.txt", first.encode())
    if item.captions != (first,):
        _add(tar, f"{key}.json", json.dumps({"captions": item.captions}, ensure_ascii=False).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # Without times or owners, which would make equal shards differ.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _encoded(image: Image.Image, image_format: str, name: str) -> bytes:
    kind, options = _SAVE[image_format]
    buffer = io.BytesIO()
    try:
        # As RGB or gray, in which images are read again.
        (image if image.mode in ("L", "RGB") else image.convert("RGB")).save(buffer, kind, **options)
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be written as {kind}: {error}; choose another image_format") from None
    return buffer.getvalue()
