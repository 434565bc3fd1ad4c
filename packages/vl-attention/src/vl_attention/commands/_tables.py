"""Rows as a CSV file, and as a table for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from vl_core.runs import atomic_write


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Replace a CSV file, in one step; the first row's keys are the columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{x:.6g}" if isinstance(x, float) else x for name, x in row.items()})
    with atomic_write(path, "wb") as file:
        file.write(text.getvalue().encode(errors="backslashreplace"))


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Columns of equal width, the first ``left`` of them to the left, the others to the right."""
    lines = [[_on_a_line(cell) for cell in row] for row in (head, *rows)]
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
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f}"


def _on_a_line(text: str) -> str:
    """The text with line breaks and what else is not printed as Python writes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
