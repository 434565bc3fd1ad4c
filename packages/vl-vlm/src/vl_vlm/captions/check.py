"""A look at a captioned data set before a command imports PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

from vl_core.data import UndividedError
from vl_core.runs.processes import current_process

from vl_vlm.captions.kinds import Request, open_caption_contents

# Larger ones take seconds to parse.
_LARGEST_TABLE = 20 * 1024**2


def check_captions(
    spec: str | os.PathLike[str],
    argument: str = "spec",
    *,
    split: str | None = None,
    default_split: str | None = None,
    split_argument: str = "split",
    images: str | os.PathLike[str] | None = None,
    caption_column: str | None = None,
    image_column: str | None = None,
    exclude: str | os.PathLike[str] | None = None,
    skip_broken: bool = False,
) -> None:
    """Check that `open_captions` can open a data set, as far as that can be seen in about a second without PyTorch.

    Of several shards or Parquet files only the first one is looked into, of text files the first hundred; one image is
    decoded; data sets of Hugging Face and captions files of more than 20 MB are not opened. Of several processes only
    the first one looks.

    Args:
        spec: See `open_captions`.
        argument: Name of the argument in errors.
        split: See `open_captions`.
        default_split: See `open_captions`.
        split_argument: Name of the argument that gives the split, in errors.
        images: See `open_captions`.
        caption_column: See `open_captions`.
        image_column: See `open_captions`.
        exclude: See `open_captions`.
        skip_broken: See `open_captions`; what would be left out is no error, unless it is all.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ModuleNotFoundError: If an extra is missing; it is named.
        ValueError: If `open_captions` would raise one.

    Example:
        >>> check_captions("emoji", "--data", split="all", split_argument="--split")
        Traceback (most recent call last):
        ValueError: --split must be one of 'train', 'val', 'test' for emoji, or be left out, got 'all'
    """
    if not current_process().is_main or _takes_long(spec):
        return
    request = Request(
        split=split,
        images=None if images is None else Path(images),
        caption_column=caption_column,
        image_column=image_column,
        exclude=None if exclude is None else Path(exclude),
        quick=True,
    )
    try:
        contents = open_caption_contents(spec, request, default_split)
        contents.refuse_empty()
        if not skip_broken:
            contents.refuse_skipped()
            contents.images[0]
    except FileNotFoundError as error:
        raise FileNotFoundError(_named(str(error), argument, split_argument)) from None
    except ValueError as error:
        kind = UndividedError if isinstance(error, UndividedError) else ValueError
        raise kind(_named(str(error), argument, split_argument)) from None


def _named(text: str, argument: str, split_argument: str) -> str:
    """An error with the names that the caller has for its arguments."""
    for name, own in (("spec", argument), ("split", split_argument)):
        if text.startswith(f"{name} must"):
            return own + text.removeprefix(name)
    return f"{argument}: {text}"


def _takes_long(spec: str | os.PathLike[str]) -> bool:
    if isinstance(spec, str) and spec.startswith("hf:"):
        return True
    path = Path(spec)
    return path.suffix.lower() in (".json", ".jsonl") and path.is_file() and path.stat().st_size > _LARGEST_TABLE
