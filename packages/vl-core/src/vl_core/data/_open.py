"""`open_dataset`: one function from a short text to a data set."""

from __future__ import annotations

import difflib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from vl_core.data._builtin import EMOJI_STYLES, open_emoji, open_fashion
from vl_core.data._dataset import ImageDataset, Transform
from vl_core.data._image import ImageError

OnError = Literal["raise", "skip"]

BUILTIN_NAMES = ("fashion", "emoji", *(f"emoji:{style}" for style in EMOJI_STYLES))

_logger = logging.getLogger(__name__)


def open_dataset(
    spec: str | os.PathLike[str],
    *,
    split: str | None = None,
    transform: Transform | None = None,
    on_error: OnError = "raise",
) -> ImageDataset:
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    dataset = _open(spec, split)
    dataset.transform = transform
    return dataset


def _open(spec: str | os.PathLike[str], split: str | None) -> ImageDataset:
    if spec == "fashion":
        return open_fashion(split)
    if spec == "emoji":
        return open_emoji(split)
    if isinstance(spec, str) and spec in BUILTIN_NAMES:
        return open_emoji(split, spec.removeprefix("emoji:"))
    raise ValueError(f"unknown {spec!r}")
