"""Results in CSV files: measurements, rows with their provenance, confidence intervals, and tables made from them."""

from __future__ import annotations

import csv
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from vl_core._atomic import atomic_write
from vl_core.tables import csv_line

if TYPE_CHECKING:
    from multiprocessing import SimpleQueue

__all__ = [
    *("append_row", "markdown_table", "memory_rise", "provenance", "quantiles", "read_rows", "timed_in_turns"),
    "wilson_interval",
]


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


def timed_in_turns(
    ways: Mapping[str, Callable[[], object]],
    turns: int,
    *,
    warmup: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Seconds of several ways to do the same thing, each turn of all: what slows the machine down slows them all.

    Args:
        ways: Functions by name.
        turns: Turns that are measured.
        warmup: Turns before them.
        clock: `time.process_time` counts what the processor works, `time.perf_counter` what passes.

    Returns:
        Seconds of each turn by name.

    Example:
        >>> taken = timed_in_turns({"sum": lambda: sum(range(10)), "max": lambda: max(range(10))}, 3)
        >>> [len(seconds) for seconds in taken.values()]
        [3, 3]
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-warmup, turns):
        for name, way in ways.items():
            start = clock()
            way()
            if turn >= 0:
                taken[name].append(clock() - start)
    return taken


def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """20 % quantile, median and 80 % quantile, interpolated between the values; of one value, three times itself.

    Example:
        >>> quantiles([3.0, 1.0, 2.0, 5.0, 4.0, 6.0])
        (2.0, 3.5, 5.0)
    """
    low, *_, high = statistics.quantiles(values, n=5, method="inclusive") if len(values) > 1 else (values[0],) * 2
    return low, statistics.median(values), high


def memory_rise(prepare: Callable[..., Callable[[], object]], *arguments: Any) -> float:
    """Mebibytes by which a call raises the peak memory of a process of its own (Linux).

    Args:
        prepare: Function of a module, which returns what is called; what it allocates, for inputs and at the first
            call of a library, does not count.
        arguments: Of ``prepare``; both are sent to the process.

    Raises:
        RuntimeError: If the process fails, whose own message is on standard error.
    """
    import multiprocessing  # which reading and writing rows need not

    context = multiprocessing.get_context("spawn")
    results: SimpleQueue[float] = context.SimpleQueue()
    process = context.Process(target=_put_rise, args=(results, prepare, arguments))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"memory of {prepare.__name__}{arguments} cannot be measured: exit code {process.exitcode}")
    return results.get()


def _put_rise(results: SimpleQueue[float], prepare: Callable[..., Callable[[], object]], arguments: Any) -> None:
    call = prepare(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _resident("VmRSS")
    call()
    results.put((_resident("VmHWM") - before) / 1024)


def _resident(field: str) -> int:
    """Kibibytes of this process that are in use (`VmRSS`) or were at most (`VmHWM`)."""
    return int(Path("/proc/self/status").read_text(encoding="utf-8").split(f"{field}:")[1].split()[0])


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
