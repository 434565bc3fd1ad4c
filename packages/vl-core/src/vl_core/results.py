"""Results in CSV files: rows with their provenance, confidence intervals, and tables made from them."""

from __future__ import annotations

import csv
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist

from vl_core._atomic import atomic_write
from vl_core.tables import csv_line

__all__ = ["append_row", "markdown_table", "provenance", "read_rows", "wilson_interval"]


def append_row(path: str | os.PathLike[str], row: Mapping[str, object]) -> None:
    """Append one row to a CSV file; the file, its folder and its header are created if missing.

    The file is replaced in one step, so that an interruption loses no earlier row.

    Args:
        path: The CSV file.
        row: Values by column. A file that exists must have the same columns, in any order.

    Raises:
        ValueError: If the file has other columns; nothing is written then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Bytes, since reading as text would turn every carriage return in a cell into a line feed.
    lines = _lines(path) if path.exists() else []
    before, columns = (path.read_bytes().decode(), lines[0]) if lines else ("", list(row))
    if set(columns) != set(row):
        missing, unknown = set(columns) - set(row), set(row) - set(columns)
        raise ValueError(
            f"row must have the columns of {path}; missing: {sorted(missing) or 'none'}, unknown: "
            f"{sorted(unknown) or 'none'}; give the row these columns, or write to a new file"
        )
    with atomic_write(path) as file:
        file.write(before if before.endswith("\n") or not before else f"{before}\n")
        if not before:
            file.write(csv_line(columns))
        file.write(csv_line([row[column] for column in columns]))


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, values as text.

    Raises:
        OSError: If there is no such file, or it cannot be read.
        ValueError: If it is not UTF-8 or not CSV, its header names a column twice, or a row has another number of cells
            than the header.
    """
    columns, *rows = _lines(Path(path)) or [[]]
    if len(set(columns)) != len(columns):
        raise ValueError(f"{path} names a column twice in its header: {', '.join(columns)[:200]}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise ValueError(f"{path}, row {number} has {len(row)} cells, expected {len(columns)}; repair or remove it")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _lines(path: Path) -> list[list[str]]:
    """Cells of a CSV file by line, without empty lines."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.reader(file) if row]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not CSV: {error}") from error


def provenance() -> dict[str, str]:
    """Provenance of a row: hardware, PyTorch version, command and commit.

    The hardware is the GPU's name where PyTorch sees one, else the processor's kind and the number of cores. The commit
    is that of the working folder's git repository, ``unknown`` outside of one. The command of an interactive session is
    ``python``.
    """
    # Reading and writing rows need no torch, whose import takes seconds.
    import torch

    if torch.cuda.is_available():
        hardware = torch.cuda.get_device_name()
    else:
        hardware = f"{platform.machine()}, {os.cpu_count()} cores"
    return {
        "hardware": hardware,
        "torch": torch.__version__,
        "command": _command(),
        "commit": _commit(),
    }


def wilson_interval(correct: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval (1927) of a proportion, such as an accuracy.

    Unlike the normal interval it stays within 0..1 and keeps its level near the ends.

    Args:
        correct: Number of ``total`` that were correct.
        total: How many there were, at least 1.
        level: Probability that the interval covers the true share.

    Returns:
        Its lower and upper end, as shares.

    Raises:
        ValueError: If ``correct`` is not in ``0..total``, ``total`` is not positive, or ``level`` is not within 0..1.

    Example:
        >>> low, high = wilson_interval(90, 100)
        >>> f"{low:.3f} {high:.3f}"
        '0.826 0.945'
    """
    if total < 1 or not 0 <= correct <= total:
        raise ValueError(f"correct must be in 0..total and total at least 1, got {correct} of {total}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}; 95 % is 0.95")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = correct / total, z * z / total
    center = (share + spread / 2) / (1 + spread)
    half = (share * (1 - share) * spread + spread * spread / 4) ** 0.5 / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)


def markdown_table(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Markdown table of the chosen columns, ending with a newline.

    Raises:
        KeyError: If a row lacks a column.
    """
    lines = [columns, ["---"] * len(columns), *([str(row[column]) for column in columns] for row in rows)]
    cells = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _command() -> str:
    script, *arguments = sys.argv
    # An interactive session has an empty text in place of a script.
    return shlex.join(["python", *([os.path.relpath(script)] if script else []), *arguments])


def _commit() -> str:
    try:
        command = ["git", "describe", "--always", "--abbrev=10", "--exclude=*"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
