"""Images of the commands."""

from __future__ import annotations

from vl_core.data import ImageDataset, UndividedError, open_dataset


def open_images(source: str, split: str | None, default: str) -> ImageDataset:
    """A data set's split: the one that is named, or the default where there are splits.

    Raises:
        ValueError: If it has no such split.
        OSError: If a file is missing or damaged.
    """
    try:
        return open_dataset(source, split=split or default)
    except UndividedError:
        if split is not None:
            raise
        return open_dataset(source)
