"""A file of lines that only grows, and keeps every line that was written whatever stops the process.

Lines are added by one process at a time. A kill or a full disk may cut the last one off: it then has no end, is not
read, and gives way to the next line. What is whole is never written again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

# On Windows two commands in one folder are not kept apart.
if sys.platform != "win32":
    import fcntl


_BLOCK = 2**20  # bytes


class AppendOnlyFile:
    """A file of lines, to be read at any time, and to be added to inside a `with` block.

    Args:
        path: The file. Reading leaves it as it is; the `with` block makes it where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._end = 0

    def lines(self) -> list[bytes]:
        """The whole lines, none if there is no file."""
        return [line for _, line in self.places()]

    def places(self) -> Iterator[tuple[int, bytes]]:
        """Yield the byte offset of each whole line and the line without its end."""
        if not self.path.exists():
            return
        start = 0
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield start, line[:-1]
                start += len(line)

    def write(self, text: str) -> None:
        """Add lines, each with its end; where they cannot all be written, none is.

        Raises:
            OSError: If the disk is full, or writing fails otherwise.
        """
        assert self._file is not None, "lines are added inside a `with` block"
        left = memoryview(text.encode())
        written = 0
        try:
            while len(left):
                count = self._file.write(left)
                left, written = left[count:], written + count
        except OSError as error:
            self._file.truncate(self._end)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._end += written

    def __enter__(self) -> Self:
        """Open the file for this process alone.

        Raises:
            ValueError: If another process has it open.
            OSError: If it cannot be written to.
        """
        # Unbuffered: what could not be written must not be tried again when the file is closed.
        self._file = self.path.open("ab", buffering=0)
        try:
            self._lock(self._file)
            self._end = self._end_of_lines()
            if self._end < self.path.stat().st_size:
                self._file.truncate(self._end)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        assert self._file is not None
        self._file.close()
        self._file = None

    def _end_of_lines(self) -> int:
        """Byte offset of the end of the last whole line, searched from the back."""
        with self.path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - _BLOCK)
                file.seek(start)
                found = file.read(end - start).rfind(b"\n")
                if found >= 0:
                    return start + found + 1
                end = start
        return 0

    def _lock(self, file: FileIO) -> None:
        """Take a lock that ends with the process, however that ends."""
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another command is writing to {self.path}; wait for it, or choose another folder with --out"
            ) from None
        except OSError:
            # Some network file systems know no locks.
            return
