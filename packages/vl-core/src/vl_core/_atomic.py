"""Atomic file writes: after a crash a file is either the old version or the new one."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp", re.DOTALL)


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that takes its place only once it is complete.

    Writes go to a temporary file in the same folder. Leaving the block flushes it to the disk and renames it over
    ``path`` in one step; an exception removes it and leaves ``path`` as it was.

    Args:
        path: File to write or replace; its folder must exist.
        mode: ``"w"`` for UTF-8 text with Unix line ends, ``"wb"`` for bytes.

    Yields:
        The open temporary file.

    Raises:
        ValueError: If ``mode`` is another one.
        OSError: If the file cannot be created, written or renamed.

    Example:
        >>> with atomic_write("report.csv") as file:
        ...     _ = file.write("class,accuracy")
    """
    if mode not in ("w", "wb"):
        raise ValueError(f'mode must be "w" or "wb", got {mode!r}; an atomic write replaces the whole file')
    with replacing(path) as temporary:
        # "x" refuses to follow a file that is there already, and unlike tempfile it leaves the usual permissions.
        text = {"encoding": "utf-8", "newline": "\n"} if mode == "w" else {}
        with temporary.open(mode.replace("w", "x"), **text) as file:  # type: ignore[call-overload]
            yield file


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` to write to; on success flush it to disk and rename it to ``path``."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            # A disk that is full does not say whose.
            error.filename = str(path)
        raise
    _sync_folder(path.parent)


def is_leftover(path: Path) -> bool:
    """Return True if ``path`` is a temporary file of ``replacing`` that a killed process left behind.

    Such a file may be removed, so nothing else counts: no folder, no link, no name of another form.
    """
    return bool(_TEMPORARY.fullmatch(path.name)) and path.is_file() and not path.is_symlink()


def sync(path: Path) -> None:
    """Flush the file's content to disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # The rename itself lasts only when its folder is flushed; Windows cannot open folders and needs no flush.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
