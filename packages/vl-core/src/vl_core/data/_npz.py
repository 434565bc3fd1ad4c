"""Images in one NumPy archive."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vl_core.data._arrays import ArrayImages
from vl_core.data._contents import ImageContents
from vl_core.data._labels import number_labels
from vl_core.data._modes import PixelRange, window
from vl_core.data._splits import select_splits
from vl_core.files import DEFLATE_RATIO, read_array

Array = npt.NDArray[Any]


def open_npz(path: Path, split: str | None, pixel_range: PixelRange | None = None) -> ImageContents:
    """Read an ``.npz``; everything is checked and held in memory.

    Arrays: ``x`` or ``images``, ``(n, H, W)``, ``(n, H, W, 1)`` or ``(n, H, W, 3)``, uint8 or floating point in
    [0, 1] (rounded to 8 bits), or any numbers that ``pixel_range`` scales; and, where there are some, ``y`` or
    ``labels`` ``(n,)`` or ``(n, 1)`` (numbers, -1 for none, or names), ``classes`` ``(k,)``, ``captions`` ``(n,)``,
    ``split`` ``(n,)`` (names).

    Raises:
        ValueError: If the archive is damaged, holds Python objects, or an array is not as above; it is named.
    """
    arrays, there = _read(path)
    image_key = _one_of(arrays, ("x", "images"), path)
    if image_key is None:
        raise ValueError(
            f"{path} must hold an array 'x' or 'images', got {', '.join(there)[:200] or 'nothing'}; name the arrays "
            "when they are written: np.savez(file, x=images, y=labels, split=names_of_splits)"
        )
    pixels = _as_uint8(arrays[image_key], f"array {image_key!r} of {path}", pixel_range)
    n = len(pixels)

    classes = _texts(arrays, "classes", None, path)
    label_key = _one_of(arrays, ("y", "labels"), path)
    if label_key is None:
        labels, class_names = np.full(n, -1, np.int64), tuple(classes or ())
    else:
        values = arrays[label_key]
        values = values[:, 0] if values.shape == (n, 1) else values
        if values.shape != (n,):
            hint = f"; numbers from one-hot rows are {label_key}.argmax(1)" if values.shape[:1] == (n,) else ""
            raise ValueError(
                f"array {label_key!r} of {path} must have shape ({n},) like {image_key!r}, got {values.shape}{hint}"
            )
        labels, class_names = number_labels(values.tolist(), classes, f"array {label_key!r} of {path}")

    captions = _texts(arrays, "captions", n, path)
    parts = _texts(arrays, "split", n, path)
    wanted = set(select_splits(split, parts or (), str(path)))
    dataset = ImageContents(
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


def _read(path: Path) -> tuple[dict[str, Array], list[str]]:
    """The arrays that are used, and the names of all."""
    wanted = ("x", "images", "y", "labels", "classes", "captions", "split")
    with path.open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise ValueError(
                f"{path} is a single array, expected an .npz archive of named arrays; write it with np.savez"
            )
        try:
            with zipfile.ZipFile(file) as archive:
                found = [info for info in archive.infolist() if info.filename.removesuffix(".npy") in wanted]
                arrays: dict[str, Array] = {}
                for info in found:
                    key = info.filename.removesuffix(".npy")
                    if key in arrays:
                        raise ArrayError(f"{path} holds array {key!r} twice; write it again with np.savez")
                    arrays[key] = _member(archive, info, f"array {key!r} of {path}", path.stat().st_size)
                return arrays, [name.removesuffix(".npy") for name in archive.namelist()]
        except ArrayError:
            raise
        # A damaged archive makes zipfile raise nearly anything; all of it means the same to the caller.
        except Exception as error:
            cause = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{path} is not a whole .npz archive: {cause}; write it again with np.savez") from error


class ArrayError(ValueError):
    """An unusable array of an archive; the message names both."""


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, what: str, file_size: int) -> Array:
    """Read one array, whose declared size is checked against what the file could hold before memory is taken."""
    if info.flag_bits & 1:
        raise ArrayError(f"{what} is encrypted; write it again with np.savez")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArrayError(
            f"{what} has compression type {info.compress_type}, expected none or deflate; write it again with "
            "np.savez or np.savez_compressed"
        )
    ratio = 1 if info.compress_type == zipfile.ZIP_STORED else DEFLATE_RATIO
    if info.file_size > ratio * min(info.compress_size, file_size):
        raise ArrayError(
            f"{what} declares {info.file_size:,} bytes, more than its {info.compress_size:,} stored bytes could hold; "
            "write it again with np.savez"
        )
    with archive.open(info) as member:
        try:
            return read_array(member, info.file_size, what)
        except ValueError as error:
            raise ArrayError(str(error)) from error


def _one_of(arrays: dict[str, Array], keys: tuple[str, str], path: Path) -> str | None:
    there = [key for key in keys if key in arrays]
    if len(there) > 1:
        raise ValueError(f"{path} holds both {there[0]!r} and {there[1]!r}, expected one of them")
    return there[0] if there else None


def _as_uint8(pixels: Array, what: str, pixel_range: PixelRange | None) -> npt.NDArray[np.uint8]:
    if pixels.ndim not in (3, 4):
        raise ValueError(f"{what} must have shape (n, H, W) or (n, H, W, C), got {pixels.shape}")
    if pixels.ndim == 4 and pixels.shape[3] not in (1, 3):
        hint = "; move the channels to the end" if pixels.shape[1] in (1, 3) and pixels.shape[3] > 4 else ""
        raise ValueError(f"{what} must have 1 or 3 channels in its last dimension, got shape {pixels.shape}{hint}")
    if 0 in pixels.shape[1:]:
        raise ValueError(f"{what} must hold images with pixels, got shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating) and (pixel_range is None or pixels.dtype.kind not in "iu"):
        hint = (
            "; save it as uint8, or pass pixel_range to open_dataset: the values of black and white"
            if pixels.dtype.kind in "iu"
            else ""
        )
        raise ValueError(f"{what} must be uint8 or floating point in [0, 1], got {pixels.dtype}{hint}")
    result = np.empty(pixels.shape, np.uint8)
    # Image by image, since copies of all would be several times the size of the archive.
    for index, image in enumerate(pixels):
        if not np.isfinite(image).all():
            raise ValueError(f"{what} must be finite, got NaN or infinity in image {index}")
        if pixel_range is not None:
            result[index] = window(image, pixel_range)
            continue
        if not (image.min() >= 0 and image.max() <= 1):
            low, high = pixels.min(), pixels.max()
            raise ValueError(f"{what} must lie in [0, 1] for {pixels.dtype}, got {low:g} to {high:g}")
        result[index] = np.rint(image.astype(np.float32) * 255)
    return result


def _texts(arrays: dict[str, Array], key: str, length: int | None, path: Path) -> list[str] | None:
    if key not in arrays:
        return None
    array = arrays[key]
    if array.dtype.kind != "U" or array.ndim != 1 or (length is not None and len(array) != length):
        expected = "one dimension" if length is None else f"shape ({length},)"
        raise ValueError(f"array {key!r} of {path} must be text of {expected}, got {array.dtype} {array.shape}")
    return [str(text) for text in array]
