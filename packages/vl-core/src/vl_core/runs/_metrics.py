"""Metrics as JSON lines, appended one object per line and readable during the run."""

from __future__ import annotations

import json
import operator
from pathlib import Path
from typing import Any

from vl_core._atomic import atomic_write, sync
from vl_core.files import parse_json

Row = dict[str, int | float]


class MetricsFile:
    """``metrics.jsonl`` of one run.

    A line is written in one call, but a machine that stops may keep half of it. Such a last line is no row; it
    disappears for good when the file is next rewound.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> list[Row]:
        """All rows in the order written, without an incomplete last line.

        Raises:
            ValueError: If another line is not a JSON object with a step; the message names file and line.
        """
        if not self._path.exists():
            return []
        rows: list[Row] = []
        lines = self._path.read_bytes().splitlines()
        for number, line in enumerate(lines, start=1):
            row = _parse(line)
            if row is not None:
                rows.append(row)
            elif number < len(lines):
                raise ValueError(
                    f"{self._path}, line {number} is not a row of metrics: {line[:80]!r}; repair or remove it"
                )
        return rows

    def append(self, row: Row) -> None:
        """Write one row; ``row["step"]`` says where in the run it belongs."""
        with self._path.open("ab") as file:
            file.write((json.dumps(row) + "\n").encode())

    def rewind(self, step: int) -> None:
        """Remove rows at or after ``step`` and an incomplete last line; the run resumes from there."""
        if not self._path.exists():
            return
        kept = "".join(json.dumps(row) + "\n" for row in self.rows() if row["step"] < step).encode()
        if kept != self._path.read_bytes():
            with atomic_write(self._path, "wb") as file:
                file.write(kept)

    def sync(self) -> None:
        """Flush the rows to disk."""
        if self._path.exists():
            sync(self._path)


def check_step(step: Any) -> int:
    """Return ``step`` as a Python integer, or raise."""
    try:
        if isinstance(step, bool):
            raise TypeError
        number = operator.index(step)
    except TypeError:
        raise TypeError(f"step must be an integer, got {type(step).__name__}") from None
    if number < 0:
        raise ValueError(f"step must not be negative, got {number}")
    return number


def number(name: str, value: Any) -> int | float:
    """A metric's value as a Python number; tensors and arrays of one element are unwrapped."""
    if isinstance(value, bool | int | float):
        return value
    try:
        item = value.item()
    except (AttributeError, RuntimeError, ValueError):
        item = None
    if not isinstance(item, bool | int | float):
        raise TypeError(f"metric {name} must be one number, got {_describe(value)}; reduce it before logging")
    return item


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} of shape {tuple(shape)}"


def _parse(line: bytes) -> Row | None:
    try:
        row = parse_json(line, "line")
    except ValueError:
        return None
    is_row = isinstance(row, dict) and isinstance(row.get("step"), int)
    return row if is_row and all(isinstance(value, int | float) for value in row.values()) else None
