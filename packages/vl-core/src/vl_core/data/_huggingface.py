"""Hugging Face data sets, from the hub or from disk; needs the extra ``vl-core[huggingface]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vl_core._extras import import_extra
from vl_core.data._contents import ImageContents
from vl_core.data._image import ImageError, read_image
from vl_core.data._labels import number_labels
from vl_core.data._modes import PixelRange
from vl_core.data._splits import select_splits

_CAPTION_COLUMNS = ("caption", "text")


class HuggingFaceImages:
    """Reads encoded images out of a `datasets.Dataset` whose image column is not decoded by the library."""

    def __init__(self, rows: Any, column: str, name: str, pixel_range: PixelRange | None = None) -> None:
        self.rows = rows
        self.column = column
        self.name = name
        self.pixel_range = pixel_range

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Image.Image:
        value = self.rows[index][self.column]
        name = f"row {index} of {self.name}"
        if value is None:
            raise ImageError(f"{name} holds no image")
        if value["bytes"] is not None:
            return read_image(value["bytes"], name=name, pixel_range=self.pixel_range)
        return read_image(value["path"], pixel_range=self.pixel_range)


def is_saved_dataset(folder: Path) -> bool:
    """Return True if the folder was written by ``save_to_disk``."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def open_huggingface(source: str, split: str | None, pixel_range: PixelRange | None = None) -> ImageContents:
    """Open a data set of the hub, a ``save_to_disk`` folder, or a folder that ``load_dataset`` can read.

    The first column of type ``Image`` is the image; ``label``, or else the only column of type ``ClassLabel``, is
    the label; ``caption`` or ``text`` is the caption. Without ``split`` all splits follow one another.

    Args:
        source: ``"owner/name"``, or the path of a folder.
        split: One of the data set's splits.
        pixel_range: See `vl_core.data.open_dataset`.

    Raises:
        ModuleNotFoundError: If `datasets` is not installed; the extra is named.
        ValueError: If the source is empty, or there is no such split or no column of images.
    """
    if not source:
        raise ValueError("spec must name the data set behind 'hf:', as in 'hf:owner/name', got 'hf:' alone")
    datasets = import_extra("datasets", "huggingface")
    try:
        return _open(datasets, source, split, pixel_range)
    except ModuleNotFoundError:
        raise
    # For damaged files the library raises nearly anything; a refusal that names the source has said enough.
    except Exception as error:
        known = isinstance(error, ValueError | FileNotFoundError) and source in str(error)
        if known or (isinstance(error, OSError) and not Path(source).is_dir()):
            raise
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{source} cannot be opened by datasets: {cause}") from error


def _open(datasets: Any, source: str, split: str | None, pixel_range: PixelRange | None) -> ImageContents:
    folder = Path(source)
    loaded = datasets.load_from_disk(source) if is_saved_dataset(folder) else datasets.load_dataset(source)
    if isinstance(loaded, dict):
        chosen = select_splits(split, loaded, source)
        rows = datasets.concatenate_datasets([loaded[part] for part in chosen])
        parts = [part for part in chosen for _ in range(len(loaded[part]))]
    else:
        own = str(loaded.split) if loaded.split is not None else None
        chosen = select_splits(split, () if own is None else (own,), source)
        rows, parts = loaded, chosen * len(loaded)

    # Arrow files are used as they lie on the disk, without a look at the places of their values.
    rows.data.table.validate(full=True)
    image = _column(rows, "image", lambda kind: isinstance(kind, datasets.Image))
    if image is None:
        raise ValueError(f"{source} must have a column of type Image, got {dict(rows.features)}")
    rows = rows.cast_column(image, datasets.Image(decode=False))
    label = _column(rows, "label", lambda kind: isinstance(kind, datasets.ClassLabel))
    labels, classes = np.full(len(rows), -1, np.int64), None
    if label is None and "label" in rows.features:
        label = "label"
    if label is not None:
        classes = getattr(rows.features[label], "names", None)
        labels, classes = number_labels(list(rows[label]), classes, f"column {label!r} of {source}")
    caption = next((c for c in _CAPTION_COLUMNS if getattr(rows.features.get(c), "dtype", None) == "string"), None)
    return ImageContents(
        HuggingFaceImages(rows, image, source, pixel_range),
        labels,
        name=source,
        split=split,
        classes=classes or (),
        captions=None if caption is None else [text or "" for text in rows[caption]],
        names=[f"{folder.name if folder.is_dir() else source}/{row:05d}" for row in range(len(rows))],
        metadata=[{"split": part} for part in parts] if parts else None,
    )


def _column(rows: Any, preferred: str, wanted: Any) -> str | None:
    fitting = [name for name, kind in rows.features.items() if wanted(kind)]
    return preferred if preferred in fitting else (fitting[0] if fitting else None)
