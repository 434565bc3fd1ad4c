"""Images in one NumPy archive."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vl_core.data._arrays import ArrayImages
from vl_core.data._dataset import ImageDataset
from vl_core.data._labels import number_labels
from vl_core.data._splits import select_splits

Array = npt.NDArray[Any]


def open_npz(path: Path, split: str | None) -> ImageDataset:
    """Read an ``.npz``; everything is checked and held in memory.

    Arrays: ``x`` or ``images``, ``(n, H, W)``, ``(n, H, W, 1)`` or ``(n, H, W, 3)``, uint8 or floating point in
    [0, 1] (rounded to 8 bits); and, where there are some, ``y`` or ``labels`` ``(n,)`` (numbers, -1 for none, or
    names), ``classes`` ``(k,)``, ``captions`` ``(n,)``, ``split`` ``(n,)`` (names).

    Raises:
        ValueError: If the archive is damaged, holds Python objects, or an array is not as above; it is named.
    """
    arrays = _read(path)
    image_key = _one_of(arrays, ("x", "images"), path)
    if image_key is None:
        raise ValueError(f"{path} must hold an array 'x' or 'images', got {', '.join(arrays) or 'nothing'}")
    pixels = _as_uint8(arrays[image_key], f"array {image_key!r} of {path}")
    n = len(pixels)

    classes = _texts(arrays, "classes", None, path)
    label_key = _one_of(arrays, ("y", "labels"), path)
    if label_key is None:
        labels, class_names = np.full(n, -1, np.int64), tuple(classes or ())
    else:
        values = arrays[label_key]
        if values.shape != (n,):
            raise ValueError(
                f"array {label_key!r} of {path} must have shape ({n},) like {image_key!r}, got {values.shape}"
            )
        labels, class_names = number_labels(values.tolist(), classes, f"array {label_key!r} of {path}")

    captions = _texts(arrays, "captions", n, path)
    parts = _texts(arrays, "split", n, path)
    wanted = set(select_splits(split, parts or (), str(path)))
    dataset = ImageDataset(
        ArrayImages(pixels),
        labels,
        name=str(path),
        split=split,
        classes=class_names,
        captions=captions,
        names=[f"{path.name}/{index:05d}" for index in range(n)],
        metadata=None if parts is None else [{"split": part} for part in parts],
    )
    if parts is None or split is None:
        return dataset
    return dataset.subset(index for index, part in enumerate(parts) if part in wanted)


def _read(path: Path) -> dict[str, Array]:
    wanted = ("x", "images", "y", "labels", "classes", "captions", "split")
    # The file is opened here, since np.load leaves it open when it turns out to be no archive.
    with path.open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise ValueError(
                f"{path} is a single array, expected an .npz archive of named arrays; write it with np.savez"
            )
        try:
            if not zipfile.is_zipfile(file):
                raise ValueError(f"{path} is not a whole .npz archive; write it again with np.savez")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {key: _member(archive, key, path) for key in archive.files if key in wanted}
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise ValueError(f"{path} is not a whole .npz archive: {' '.join(str(error).split())}") from error


def _member(archive: Any, key: str, path: Path) -> Array:
    try:
        array: Array = archive[key]
        return array
    except ValueError as error:
        cause = "holds Python objects, which are not unpickled; store numbers or fixed-width text"
        reason = cause if "allow_pickle" in str(error) else f"cannot be read: {' '.join(str(error).split())}"
        raise ValueError(f"array {key!r} of {path} {reason}") from error


def _one_of(arrays: dict[str, Array], keys: tuple[str, str], path: Path) -> str | None:
    there = [key for key in keys if key in arrays]
    if len(there) > 1:
        raise ValueError(f"{path} holds both {there[0]!r} and {there[1]!r}, expected one of them")
    return there[0] if there else None


def _as_uint8(pixels: Array, what: str) -> npt.NDArray[np.uint8]:
    if pixels.ndim not in (3, 4):
        raise ValueError(f"{what} must have shape (n, H, W) or (n, H, W, C), got {pixels.shape}")
    if pixels.ndim == 4 and pixels.shape[3] not in (1, 3):
        hint = "; move the channels to the end" if pixels.shape[1] in (1, 3) and pixels.shape[3] > 4 else ""
        raise ValueError(f"{what} must have 1 or 3 channels in its last dimension, got shape {pixels.shape}{hint}")
    if 0 in pixels.shape[1:]:
        raise ValueError(f"{what} must hold images with pixels, got shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(f"{what} must be uint8 or floating point in [0, 1], got {pixels.dtype}")
    bad = ~np.isfinite(pixels).reshape(len(pixels), -1).all(axis=1)
    if bad.any():
        raise ValueError(f"{what} must be finite, got NaN or infinity in image {int(bad.argmax())}")
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(f"{what} must lie in [0, 1] for {pixels.dtype}, got {pixels.min():g} to {pixels.max():g}")
    return np.rint(pixels.astype(np.float32) * 255).astype(np.uint8)


def _texts(arrays: dict[str, Array], key: str, length: int | None, path: Path) -> list[str] | None:
    if key not in arrays:
        return None
    array = arrays[key]
    if array.dtype.kind != "U" or array.ndim != 1 or (length is not None and len(array) != length):
        expected = "one dimension" if length is None else f"shape ({length},)"
        raise ValueError(f"array {key!r} of {path} must be text of {expected}, got {array.dtype} {array.shape}")
    return [str(text) for text in array]
