"""Images in one Parquet file, as encoded bytes in a column; needs the extra ``vl-core[parquet]``."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vl_core._extras import import_extra
from vl_core.data._contents import ImageContents
from vl_core.data._image import ImageError, read_image
from vl_core.data._labels import number_labels
from vl_core.data._modes import PixelRange
from vl_core.data._splits import select_splits
from vl_core.files import DEFLATE_RATIO

CACHE_BYTES = 512 * 1024**2

_ROWS_A_BYTE = 8
_BATCH_ROWS = 64
_LEAST_LIMIT = 64 * 1024**2


class RowGroupCache:
    """The row groups that were read last, ``limit`` bytes at most unless one alone is larger.

    Several files may share one. Copies sent to other processes start empty.

    Args:
        limit: Size of all groups together, in bytes.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self._start_empty()

    def _start_empty(self) -> None:
        self._groups: OrderedDict[tuple[Path, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.limit = state["limit"]
        self._start_empty()

    def __len__(self) -> int:
        """Number of groups held now."""
        return len(self._groups)

    def get(self, path: Path, group: int, read: Callable[[int], Any]) -> Any:
        """Row group ``group`` of a file, by ``read(group)`` where it is not held."""
        with self._lock:
            if (path, group) not in self._groups:
                self._groups[path, group] = read(group)
                while len(self._groups) > 1 and sum(held.nbytes for held in self._groups.values()) > self.limit:
                    self._groups.popitem(last=False)
            self._groups.move_to_end((path, group))
            return self._groups[path, group]


class ParquetImages:
    """Reads encoded images one row group at a time, with a cache for the latest groups.

    Nothing is decoded before it is asked for. Files that fit are read once; of larger ones, reading in order touches
    each row group once, and reading in random order wants small row groups.

    Args:
        path: The file.
        row_counts: Rows of each row group.
        column: Name of the column of images.
        cache: Holds row groups; by default one of its own.
        pixel_range: See `vl_core.data.open_dataset`.
    """

    def __init__(
        self,
        path: Path,
        row_counts: list[int],
        *,
        column: str = "image",
        cache: RowGroupCache | None = None,
        pixel_range: PixelRange | None = None,
    ) -> None:
        self.path = path
        self.column = column
        self.pixel_range = pixel_range
        self.cache = RowGroupCache() if cache is None else cache
        self._starts = np.concatenate([[0], np.cumsum(row_counts, dtype=np.int64)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Image.Image:
        group = int(np.searchsorted(self._starts, index, side="right")) - 1
        rows = self.cache.get(self.path, group, self._read)
        value = rows[index - int(self._starts[group])].as_py()
        encoded = value.get("bytes") if isinstance(value, dict) else value
        name = f"row {index} of {self.path}"
        if encoded is None:
            raise ImageError(f"{name} holds no bytes; an image must lie in the file itself, a path is not followed")
        return read_image(encoded, name=name, pixel_range=self.pixel_range)

    def _read(self, group: int) -> Any:
        try:
            with _opened(self.path) as file:
                expected = int(self._starts[group + 1] - self._starts[group])
                return _read_columns(file, self.path, [self.column], [group], expected).column(0)
        except FileNotFoundError:
            raise
        # A damaged file makes pyarrow raise nearly anything; all of it means the same to the caller.
        except Exception as error:
            raise ImageError(f"row group {group} of {self.path} cannot be read: {_one_line(error)}") from error


class ImageColumn(NamedTuple):
    """The images of a Parquet file, read lazily, with what stands beside them."""

    images: ParquetImages
    """By row."""
    columns: dict[str, list[Any]]
    """The values of the columns that were asked for and are there."""
    schema: Any
    """Names and types of all columns, a `pyarrow.Schema`."""


def open_image_column(
    path: Path,
    beside: Sequence[str | tuple[str, ...]] = (),
    *,
    column: str | None = None,
    cache: RowGroupCache | None = None,
    pixel_range: PixelRange | None = None,
) -> ImageColumn:
    """Open a Parquet file of encoded images, and read small columns beside them whole.

    Args:
        path: The file.
        beside: Columns to read; those that are not there are left out, and of a tuple the first that is there is read.
        column: The column of images. By default ``image`` or ``img`` (bytes, or the Hugging Face struct of ``bytes``
            and ``path``, dictionary-encoded or not), or else the only one that the Hugging Face description in the
            file's header calls an image.
        cache: Holds row groups, so that several files may share its bound.
        pixel_range: See `vl_core.data.open_dataset`.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If pyarrow is not installed; the extra is named.
        ValueError: If the file is no Parquet file, or the column of images is missing or of another type.
    """
    arrow = import_extra("pyarrow", "parquet")
    try:
        with _opened(path) as file:
            schema = file.schema_arrow
            row_counts = _row_counts(file.metadata, path)
            wanted = [(keys,) if isinstance(keys, str) else keys for keys in beside]
            there = [[key for key in keys if key in schema.names] for keys in wanted]
            small = [keys[0] for keys in there if keys]
            groups = list(range(len(row_counts)))
            table = _read_columns(file, path, small, groups, sum(row_counts)) if small and groups else None
            columns = {key: table.column(key).to_pylist() if table else [] for key in small}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a whole Parquet file: {_one_line(error)}") from error
    found = _image_column(schema) if column is None else column if column in schema.names else None
    if found is None:
        raise ValueError(
            f"{path} must have a column {column or 'image'!r} of bytes, got {', '.join(schema.names)[:200]}; rename it"
        )
    for key in (found, *small):
        if schema.names.count(key) > 1:
            raise ValueError(f"{path} must have one column {key!r}, got {schema.names.count(key)}")
    _check_image_type(arrow, found, schema.field(found).type, path)
    images = ParquetImages(path, row_counts, column=found, cache=cache, pixel_range=pixel_range)
    return ImageColumn(images, columns, schema)


def open_parquet(path: Path, split: str | None, pixel_range: PixelRange | None = None) -> ImageContents:
    """Open a Parquet file of encoded images.

    Columns: images as `open_image_column` finds them; and, where there are some, ``label`` (numbers or names, null for
    none), ``caption`` and ``split`` (text). Class names are taken from the Hugging Face description in the file's
    header where there is one.

    Raises:
        ModuleNotFoundError: If pyarrow is not installed; the extra is named.
        ValueError: If the file is no Parquet file or a column is missing or of another type.
    """
    images, columns, schema = open_image_column(path, ("label", "caption", "split"), pixel_range=pixel_range)
    for key in ("caption", "split"):
        for row, text in enumerate(columns.get(key, ())):
            if not isinstance(text, str):
                raise ValueError(f"column {key!r} of {path} must hold text, got {text!r} in row {row}")

    n = len(images)
    labels, classes = np.full(n, -1, np.int64), _declared_classes(schema)
    if "label" in columns:
        labels, classes = number_labels(columns["label"], classes, f"column 'label' of {path}")
    parts = columns.get("split")
    wanted = set(select_splits(split, parts or (), str(path)))
    dataset = ImageContents(
        images,
        labels,
        name=str(path),
        split=split,
        classes=classes or (),
        captions=columns.get("caption"),
        names=[f"{path.name}/{row:05d}" for row in range(n)],
        metadata=None if parts is None else [{"split": part} for part in parts],
    )
    if parts is None or split is None:
        return dataset
    return dataset.subset(row for row, part in enumerate(parts) if part in wanted)


def _opened(path: Path) -> Any:
    """Open a Parquet file whose footer may not declare more strings and entries than the file has bytes."""
    size = path.stat().st_size
    parquet = import_extra("pyarrow.parquet", "parquet")
    return parquet.ParquetFile(path, thrift_string_size_limit=size, thrift_container_size_limit=size)


def _row_counts(metadata: Any, path: Path) -> list[int]:
    """Rows of each row group, checked against the size of the file."""
    size = path.stat().st_size
    counts = []
    for number in range(metadata.num_row_groups):
        # Not its columns, whose damaged description makes pyarrow end the process.
        counts.append(metadata.row_group(number).num_rows)
    if min(counts, default=0) < 0 or sum(counts) > _ROWS_A_BYTE * size:
        raise ValueError(f"{sum(counts):,} rows are declared, more than {size:,} bytes could hold")
    return counts


def _read_columns(file: Any, path: Path, columns: list[str], groups: list[int], expected: int) -> Any:
    """Read columns a few rows at a time, so that what they unfold to is bounded by what the file could hold."""
    limit = max(DEFLATE_RATIO * path.stat().st_size, _LEAST_LIMIT)
    batches, rows, size = [], 0, 0
    # Without threads, which would read ahead.
    for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns, use_threads=False):
        batches.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if size > limit:
            raise ValueError(f"more than {limit:,} bytes of {', '.join(columns)} come out of {path.stat().st_size:,}")
        if rows > expected:
            break
    if rows != expected:
        raise ValueError(f"{expected:,} rows of {', '.join(columns)} are declared, got {rows:,}")
    arrow = import_extra("pyarrow", "parquet")
    return arrow.Table.from_batches(batches) if batches else file.schema_arrow.empty_table()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_image_type(arrow: Any, column: str, kind: Any, path: Path) -> None:
    if arrow.types.is_dictionary(kind):
        kind = kind.value_type
    if arrow.types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        kind = kind.field("bytes").type if "bytes" in names else kind
    if not any(getattr(arrow.types, f"is_{name}", bool)(kind) for name in ("binary", "large_binary", "binary_view")):
        raise ValueError(f"column {column!r} of {path} must hold bytes, or a struct with a field 'bytes', got {kind}")


def _image_column(schema: Any) -> str | None:
    """The column of images: by its name, or the only one that is described as images."""
    declared = [
        name
        for name, feature in _declared(schema).items()
        if name in schema.names and isinstance(feature, dict) and feature.get("_type") == "Image"
    ]
    named = [name for name in ("image", "img") if name in schema.names]
    return named[0] if named else declared[0] if len(declared) == 1 else None


def _declared(schema: Any) -> dict[str, Any]:
    """The columns as described in the header that the Hugging Face library writes; empty if there is none."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return described if isinstance(described, dict) else {}


def _declared_classes(schema: Any) -> tuple[str, ...] | None:
    """Class names of the column ``label`` as described in the header, if present."""
    feature = _declared(schema).get("label")
    described = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, described)) if isinstance(described, list) else None
