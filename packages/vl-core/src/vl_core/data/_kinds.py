"""The kinds of data sets, and opening one of any kind without PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

from vl_core.data._builtin import open_emoji, open_fashion
from vl_core.data._contents import ImageContents
from vl_core.data._fashion_mnist import open_fashion_mnist
from vl_core.data._folder import open_folder
from vl_core.data._huggingface import is_saved_dataset, open_huggingface
from vl_core.data._modes import PixelRange
from vl_core.data._npz import open_npz
from vl_core.data._parquet import open_parquet
from vl_core.data._specs import BUILTIN_NAMES, UNDERSTOOD, check_source
from vl_core.data._splits import UndividedError


def open_contents(
    spec: str | os.PathLike[str],
    split: str | None = None,
    default_split: str | None = None,
    exclude: Path | None = None,
    pixel_range: PixelRange | None = None,
) -> ImageContents:
    """Open a data set; see `vl_core.data.open_dataset` for the arguments and errors."""
    try:
        return _open(spec, default_split if split is None else split, exclude, pixel_range)
    except UndividedError:
        if split is not None:
            raise
        return _open(spec, None, exclude, pixel_range)


def _open(
    spec: str | os.PathLike[str], split: str | None, exclude: Path | None, pixel_range: PixelRange | None
) -> ImageContents:
    if isinstance(spec, str):
        if spec == "fashion":
            return open_fashion(split)
        if spec == "fashion-mnist":
            return open_fashion_mnist(split)
        if spec in BUILTIN_NAMES:
            return open_emoji(split, spec.partition(":")[2] or None)
        if spec.startswith("hf:"):
            return open_huggingface(spec.removeprefix("hf:"), split, pixel_range)
    path = Path(spec)
    if path.is_dir():
        if is_saved_dataset(path):
            return open_huggingface(str(path), split, pixel_range)
        return open_folder(path, split, exclude, pixel_range)
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return open_npz(path, split, pixel_range)
        if path.suffix.lower() == ".parquet":
            return open_parquet(path, split, pixel_range)
        raise ValueError(f"spec must be {UNDERSTOOD}, got the file {path}; a single image is for read_image")
    check_source(spec)
    raise FileNotFoundError(f"spec must be {UNDERSTOOD}, but {path} is neither a file nor a folder")
