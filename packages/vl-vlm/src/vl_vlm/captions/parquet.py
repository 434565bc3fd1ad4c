"""Parquet files of encoded images with captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vl_core.data import RowGroupCache, open_image_column, select_splits
from vl_core.progress import progress_bar

from vl_vlm.captions.contents import ChosenImages, Contents, join
from vl_vlm.captions.texts import CAPTION_KEYS, CaptionError, captions_of


def open_parquet_files(
    paths: Sequence[Path],
    labels: Sequence[str],
    *,
    name: str,
    split: str | None = None,
    caption_column: str | None = None,
    image_column: str | None = None,
    progress: bool = False,
) -> Contents:
    """Images of Parquet files one after the other, read by row group when they are asked for.

    All files share one bound on the row groups that are kept in memory. Captions are read at once.

    Args:
        paths: At least one.
        labels: A name for each file, which stands before the number of the row.
        name: Of the data set.
        split: Of those in the column ``split``, where there is one.
        caption_column: Column of texts or of lists of texts; by default the first there is of `CAPTION_KEYS`.
        image_column: Column of images; see `vl_core.data.open_image_column`.
        progress: Show the files that were read.

    Raises:
        ValueError: If a file is damaged, or has no such columns.
    """
    keys = CAPTION_KEYS if caption_column is None else (caption_column,)
    beside, cache = (keys, "split"), RowGroupCache()
    bar = progress_bar(paths, desc="captions", unit="files", disable=not progress or len(paths) == 1)
    opened = [open_image_column(path, beside, column=image_column, cache=cache) for path in bar]
    divided = {part for found in opened for part in found.columns.get("split", ()) if isinstance(part, str)}
    wanted = set(select_splits(split, divided, name))
    parts = {}
    for path, label, (images, columns, schema) in zip(paths, labels, opened, strict=True):
        column = next((key for key in keys if key in columns), None)
        if column is None:
            raise ValueError(
                f"{path} must have a column of captions, {' or '.join(keys)}, got {', '.join(schema.names)[:200]}; "
                "name it by caption_column"
            )
        part = parts[f"{label}/"] = Contents(str(path), images, [], [])
        rows = []
        for row, value in enumerate(columns[column]):
            if split is not None and ("split" not in columns or columns["split"][row] not in wanted):
                continue
            try:
                part.captions.append(captions_of(value))
            except CaptionError as error:
                part.skipped.append((f"{row:05d}", f"{error}, in column {column!r}"))
                continue
            part.names.append(f"{row:05d}")
            rows.append(row)
        part.images = ChosenImages(images, rows)
    return join(name, parts)
