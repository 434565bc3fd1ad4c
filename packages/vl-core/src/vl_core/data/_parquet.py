"""Images in one Parquet file, as encoded bytes in a column; needs the extra ``vl-core[parquet]``."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vl_core._extras import import_extra
from vl_core.data._dataset import ImageDataset
from vl_core.data._image import ImageError, read_image
from vl_core.data._labels import number_labels
from vl_core.data._splits import select_splits

CACHE_BYTES = 512 * 1024**2


class ParquetImages:
    """Reads encoded images one row group at a time, with a cache of ``cache_bytes`` for the latest groups.

    Nothing is decoded before it is asked for. Files that fit are read once; of larger ones, reading in order touches
    each row group once, and reading in random order wants small row groups. Copies sent to other processes start with
    an empty cache.
    """

    def __init__(self, path: Path, row_counts: list[int], *, cache_bytes: int = CACHE_BYTES) -> None:
        self.path = path
        self.cache_bytes = cache_bytes
        self._starts = np.concatenate([[0], np.cumsum(row_counts, dtype=np.int64)])
        self._start_empty()

    def _start_empty(self) -> None:
        self._groups: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_groups", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_empty()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Image.Image:
        group = int(np.searchsorted(self._starts, index, side="right")) - 1
        value = self._group(group)[index - int(self._starts[group])].as_py()
        encoded = value.get("bytes") if isinstance(value, dict) else value
        name = f"row {index} of {self.path}"
        if encoded is None:
            raise ImageError(f"{name} holds no bytes; an image must lie in the file itself, a path is not followed")
        return read_image(encoded, name=name)

    def _group(self, group: int) -> Any:
        with self._lock:
            if group not in self._groups:
                self._groups[group] = self._read(group)
                while len(self._groups) > 1 and sum(c.nbytes for c in self._groups.values()) > self.cache_bytes:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(group)
            return self._groups[group]

    def _read(self, group: int) -> Any:
        parquet = import_extra("pyarrow.parquet", "parquet")
        try:
            with parquet.ParquetFile(self.path) as file:
                return file.read_row_group(group, columns=["image"]).column("image")
        except FileNotFoundError:
            raise
        except (import_extra("pyarrow", "parquet").ArrowException, OSError) as error:
            cause = " ".join(str(error).split())
            raise ImageError(f"row group {group} of {self.path} cannot be read: {cause}") from error


def open_parquet(path: Path, split: str | None) -> ImageDataset:
    """Open a Parquet file of encoded images.

    Columns: ``image`` (bytes, or the Hugging Face struct of ``bytes`` and ``path``); and, where there are some,
    ``label`` (numbers or names, null for none), ``caption`` and ``split`` (text). Class names are taken from the
    Hugging Face description in the file's header where there is one.

    Raises:
        ModuleNotFoundError: If pyarrow is not installed; the extra is named.
        ValueError: If the file is no Parquet file or a column is missing or of another type.
    """
    arrow = import_extra("pyarrow", "parquet")
    parquet = import_extra("pyarrow.parquet", "parquet")
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            row_counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            small = [key for key in ("label", "caption", "split") if key in schema.names]
            columns = {key: column.to_pylist() for key, column in _columns(file.read(columns=small))}
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {' '.join(str(error).split())}") from error
    if "image" not in schema.names:
        raise ValueError(f"{path} must have a column 'image' of bytes, got {', '.join(schema.names)}")
    _check_image_type(arrow, schema.field("image").type, path)
    for key in ("caption", "split"):
        for row, text in enumerate(columns.get(key, ())):
            if not isinstance(text, str):
                raise ValueError(f"column {key!r} of {path} must hold text, got {text!r} in row {row}")

    n = sum(row_counts)
    labels, classes = np.full(n, -1, np.int64), _declared_classes(schema)
    if "label" in columns:
        labels, classes = number_labels(columns["label"], classes, f"column 'label' of {path}")
    parts = columns.get("split")
    wanted = set(select_splits(split, parts or (), str(path)))
    dataset = ImageDataset(
        ParquetImages(path, row_counts),
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


def _columns(table: Any) -> list[tuple[str, Any]]:
    return list(zip(table.column_names, table.columns, strict=True))


def _check_image_type(arrow: Any, kind: Any, path: Path) -> None:
    if arrow.types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        kind = kind.field("bytes").type if "bytes" in names else kind
    if not (arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind)):
        raise ValueError(f"column 'image' of {path} must hold bytes, or a struct with a field 'bytes', got {kind}")


def _declared_classes(schema: Any) -> tuple[str, ...] | None:
    """Class names from the header that the Hugging Face library writes, if present."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(map(str, described)) if isinstance(described, list) else None
