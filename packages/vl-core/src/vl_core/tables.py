"""Tables that a command writes: CSV and Parquet files, and columns of text for the terminal.

Files are replaced in one step, see `vl_core.runs.atomic_write`. For result files that grow by a row at a time see
`vl_core.results`. Parquet comes with the extra ``parquet``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from vl_core._atomic import atomic_write
from vl_core._extras import import_extra

__all__ = ["csv_line", "open_csv", "percent", "printable", "text_table", "utf8", "write_parquet", "write_rows"]

# A row of a thousand classes takes 50 kilobytes, so Parquet files are converted and written in groups of rows.
_ROWS_PER_GROUP = 1024


@contextmanager
def open_csv(path: Path) -> Iterator[Callable[[Iterable[object]], object]]:
    r"""Replace a CSV file, and yield the function that writes a row; the folder is made where it is missing.

    A byte of a file name that is not UTF-8, which Python keeps as a lone surrogate, is written as ``\udc..``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        yield lambda cells: file.write(utf8(csv_line(cells)).encode())


def csv_line(cells: Iterable[object]) -> str:
    """One line of a CSV file, which ends with a line feed."""
    text = io.StringIO()
    # The writer of Python 3.11 quotes only those of CR and LF that its own line end holds.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    """Replace a CSV file; floats are written with six significant digits.

    Args:
        path: The file to write.
        rows: Mappings with the same keys, or instances of one dataclass; keys or fields of the first are the columns.

    Raises:
        ValueError: If there is no row, or a row has other columns than the first.
    """
    if not rows:
        raise ValueError(f"rows must hold at least one row for {path.name}, got none")
    columns, *others = [list(_cells(row)) for row in rows]
    if strangers := [found for found in others if set(found) != set(columns)]:
        raise ValueError(f"rows must have the columns of the first, {columns}, got {strangers[0]}")
    with open_csv(path) as write:
        write(columns)
        for row in map(_cells, rows):
            write([f"{row[c]:.6g}" if isinstance(row[c], float) else row[c] for c in columns])


def write_parquet(path: Path, columns: Mapping[str, Any], *, metadata: Mapping[str, str] | None = None) -> None:
    """Replace a Parquet file, compressed with zstd.

    Args:
        path: The file to write.
        columns: Equally long sequences, arrays or Arrow arrays by name; a two-dimensional array becomes a column of
            lists.
        metadata: Of the whole file.

    Raises:
        ModuleNotFoundError: If pyarrow is not installed.
    """
    arrow, parquet = import_extra("pyarrow", "parquet"), import_extra("pyarrow.parquet", "parquet")
    total = max((len(values) for values in columns.values()), default=0)

    def group(start: int) -> Any:
        rows = {name: values[start : start + _ROWS_PER_GROUP] for name, values in columns.items()}
        as_lists = {name: list(v) if getattr(v, "ndim", 1) == 2 else v for name, v in rows.items()}
        return arrow.table(as_lists).replace_schema_metadata(metadata)

    first = group(0)
    with atomic_write(path, "wb") as file, parquet.ParquetWriter(file, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for start in range(_ROWS_PER_GROUP, total, _ROWS_PER_GROUP):
            writer.write_table(group(start))


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Columns of equal width for the terminal, under a head and a rule.

    Args:
        head: Names of the columns.
        rows: Cells of each row.
        left: How many of the first columns are aligned to the left; the others are aligned to the right.

    Example:
        >>> print(text_table(["search", "accuracy"], [["racing", "91.2 %"]]))
        search  accuracy
        ------  --------
        racing    91.2 %
    """
    lines = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def percent(share: float) -> str:
    """A share as a percentage with one decimal, without the sign.

    Example:
        >>> percent(0.9125)
        '91.2'
    """
    return f"{100 * share:.1f}"


def printable(text: str) -> str:
    r"""The text on one line: line breaks and other characters that cannot be printed are escaped as Python does.

    Example:
        >>> print(printable("two\nlines"))
        two\nlines
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def utf8(text: str) -> str:
    """The text as valid UTF-8: bytes of a file name that are not (lone surrogates in Python) are escaped."""
    return text.encode(errors="backslashreplace").decode()


def _cells(row: Any) -> Mapping[str, object]:
    if is_dataclass(row):
        return {field.name: getattr(row, field.name) for field in fields(row)}
    found: Mapping[str, object] = row
    return found
