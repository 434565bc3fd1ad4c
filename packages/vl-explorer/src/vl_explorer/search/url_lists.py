"""Lists of image addresses with captions in Parquet files, as LAION and its successors publish them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from vl_core.data import RowGroupCache
from vl_core.files import DEFLATE_RATIO
from vl_core.tables import printable

from vl_explorer.search.captions import local_limits
from vl_explorer.search.engine import SearchPage, SearchResult, checked_query
from vl_explorer.search.http import fields
from vl_explorer.search.ranking.bm25 import BM25

COLUMNS: Mapping[str, str] = {
    "url": "URL",
    "title": "TEXT",
    "width": "WIDTH",
    "height": "HEIGHT",
    "license": "LICENSE",
}
"""LAION's name of the column for each field of a result."""

_BATCH_ROWS = 64
_ROWS_A_BYTE = 8
_LEAST_LIMIT = 64 * 1024**2
_CACHE_BYTES = 256 * 1024**2
_LONGEST_CAPTION = 4_000


class UrlListEngine:
    """Search by words in the captions of lists of addresses, free and without network.

    Captions are read once, in a stream, into an inverted index (8 bytes for each different word of each caption);
    addresses stay in the files and are read by row group when they are found. An address that stands in several rows
    is found once.

    Args:
        paths: A Parquet file, a folder of them, or several files in the order that numbers their rows.
        columns: Names of columns, as `COLUMNS`; those that are not named keep LAION's names. The columns of ``url`` and
            ``title`` must be there.
        name: Name of the engine.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If pyarrow is not installed; the extra is named.
        ValueError: If a file is damaged or lacks a column, or a field has another name than those of `COLUMNS`.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        columns: Mapping[str, str] | None = None,
        name: str = "url-list",
    ) -> None:
        unknown = sorted(set(columns or {}) - set(COLUMNS))
        if unknown:
            raise ValueError(f"columns must be of {', '.join(COLUMNS)}, got {', '.join(unknown)}")
        self.name = name
        cache = RowGroupCache(_CACHE_BYTES)
        self._files = [_ListFile(path, {**COLUMNS, **(columns or {})}, cache) for path in _files(paths)]
        self._starts = np.cumsum([0, *(len(file) for file in self._files)])
        self._index = BM25(caption for file in self._files for caption in file.captions())
        self.limits = local_limits(len(self._index), "by words; the images are elsewhere, and many are gone")

    def __repr__(self) -> str:
        return f"UrlListEngine(name={self.name!r}, {len(self._index)} addresses)"

    def describe(self) -> str:
        """Limits and cost in one line."""
        return self.limits.describe(self.name)

    async def search(self, query: str, count: int) -> SearchPage:
        """The ``count`` addresses whose captions fit a query best; see `SearchEngine`.

        Raises:
            ValueError: If the query is empty or the count below 1, or a file has changed and cannot be read.
        """
        query = checked_query(query, count)
        wanted = count + 1
        while True:
            numbers = self._index.search(query, wanted)
            found: dict[str, SearchResult] = {}
            for number in numbers.tolist():
                result = self._result(number)
                found.setdefault(result.url, result)
            if len(found) > count or len(numbers) < wanted:
                return SearchPage(tuple(found.values())[:count], len(found) <= count, 0, 0.0)
            # Several rows have the same address.
            wanted *= 2

    async def close(self) -> None:
        """Nothing to give back."""

    def _result(self, number: int) -> SearchResult:
        file = int(np.searchsorted(self._starts, number, side="right")) - 1
        row = self._files[file].row(number - int(self._starts[file]))
        return SearchResult(
            url=fields.address(row["url"]),
            title=fields.text(row["title"]),
            license=fields.text(row.get("license")),
            width=fields.number(row.get("width")),
            height=fields.number(row.get("height")),
            identifier=str(number),
        )


class _ListFile:
    """One Parquet file of addresses and captions, read a few rows at a time or by row group."""

    def __init__(self, path: Path, columns: Mapping[str, str], cache: RowGroupCache) -> None:
        self._path = path
        self._cache = cache
        with _reading(path), _opened(path) as file:
            there = set(file.schema_arrow.names)
            groups = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        for field in ("url", "title"):
            if columns[field] not in there:
                raise ValueError(
                    f"{path} must have a column {columns[field]!r}, got {', '.join(sorted(there))[:200]}; "
                    f"name it by columns={{{field!r}: ...}}"
                )
        if min(groups, default=0) < 0 or sum(groups) > _ROWS_A_BYTE * path.stat().st_size:
            raise ValueError(f"{path} declares {sum(groups):,} rows, more than its bytes could hold")
        self._columns = {field: column for field, column in columns.items() if column in there}
        self._starts = np.cumsum([0, *groups])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def captions(self) -> Iterator[str]:
        """The caption of each row; empty where there is no address, so that the row is never found."""
        url, title = self._columns["url"], self._columns["title"]
        read = 0
        with _reading(self._path), _opened(self._path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=[url, title], use_threads=False):
                for address, caption in zip(batch[url].to_pylist(), batch[title].to_pylist(), strict=True):
                    usable = isinstance(caption, str) and fields.address(address)
                    yield caption[:_LONGEST_CAPTION] if usable else ""
                read += len(batch)
        if read != len(self):
            raise ValueError(f"{self._path} declares {len(self):,} rows, got {read:,}; the file is damaged")

    def row(self, number: int) -> dict[str, Any]:
        """One row by field."""
        group = int(np.searchsorted(self._starts, number, side="right")) - 1
        table = self._cache.get(self._path, group, self._read_group)
        place = number - int(self._starts[group])
        return {field: table[column][place].as_py() for field, column in self._columns.items()}

    def _read_group(self, group: int) -> Any:
        import pyarrow

        limit = max(DEFLATE_RATIO * self._path.stat().st_size, _LEAST_LIMIT)
        batches, size = [], 0
        with _reading(self._path), _opened(self._path) as file:
            columns = list(self._columns.values())
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False):
                batches.append(batch)
                size += batch.nbytes
                if size > limit:
                    raise ValueError(f"more than {limit:,} bytes come out of a row group")
        table = pyarrow.Table.from_batches(batches)
        if len(table) != self._starts[group + 1] - self._starts[group]:
            raise ValueError(f"row group {group} of {self._path} has another length than declared")
        return table


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say of any fault in a file which file it is: a damaged one makes pyarrow raise nearly anything."""
    try:
        yield
    except (FileNotFoundError, ModuleNotFoundError, GeneratorExit):
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a whole Parquet file: {printable(str(error))[:200]}") from error


def _opened(path: Path) -> Any:
    """A Parquet file whose footer may not declare more strings and entries than the file has bytes."""
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "pyarrow is not installed; it comes with `pip install 'vl-explorer[parquet]'`", name="pyarrow"
        ) from error
    size = path.stat().st_size
    return parquet.ParquetFile(path, thrift_string_size_limit=size, thrift_container_size_limit=size)


def _files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found = []
    for path in map(Path, given):
        found += sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not found:
        raise FileNotFoundError(f"no Parquet file in {', '.join(map(str, given)) or 'no paths'}")
    return found
