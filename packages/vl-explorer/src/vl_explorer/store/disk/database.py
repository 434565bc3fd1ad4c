"""One connection to the database of a store: every write takes the write lock at its beginning, and waits for it.

A transaction that begins by reading and writes later fails at once where another process wrote in between, however
long its time-out is. `BEGIN IMMEDIATE` waits instead, so two explorers on one store never see a lock error unless one
of them holds the lock for longer than all tries together.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from vl_explorer.store.disk.schema import check_version, migrate

TRIES = 4
"""Times that a lock is waited for, each of `busy_seconds`."""

_PAUSE = 0.05  # seconds between tries, doubled each time; some locks are refused without waiting

T = TypeVar("T")


class StoreBusyError(TimeoutError):
    """Another process held the write lock of a store for longer than all tries."""


class Database:
    """A SQLite database in WAL mode, with foreign keys; threads take turns.

    Args:
        path: The file; made where it is missing.
        busy_seconds: How long one try waits for another process.
        read_only: Open a file that is there, and refuse every write.

    Raises:
        OSError: If the file cannot be opened or written to.
        StoreBusyError: If another process holds the database all the time.
        ValueError: If the file is no store, or of a later version; if read only, also of an earlier one.
    """

    def __init__(self, path: Path, busy_seconds: float = 30.0, *, read_only: bool = False) -> None:
        self.path, self.read_only = path, read_only
        self._lock = threading.RLock()
        where = f"{path.resolve().as_uri()}?mode={'rw' if read_only else 'rwc'}"
        try:
            self._connection = sqlite3.connect(
                where, busy_seconds, isolation_level=None, check_same_thread=False, uri=True
            )
            if read_only:
                check_version(self._connection, str(path))
                self._connection.execute("PRAGMA query_only = ON")
            else:
                self._prepare()
        except BaseException as error:
            if hasattr(self, "_connection"):
                self._connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise OSError(f"{path} cannot be opened ({error}); see to its permissions and its disk") from error
            if isinstance(error, sqlite3.DatabaseError):
                raise ValueError(f"{path} is no SQLite database or is damaged ({error}); restore a copy") from error
            raise

    def _prepare(self) -> None:
        # The change to WAL does not wait for other processes; when it is done it stays.
        self._patiently(lambda: self._connection.execute("PRAGMA journal_mode = WAL").fetchone())
        # In WAL a lost second after a power cut leaves the database whole; a killed process loses nothing.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        # What was deleted, such as a work taken down, is overwritten.
        self._connection.execute("PRAGMA secure_delete = ON")
        with self.writing() as connection:
            migrate(connection, str(self.path))

    @contextmanager
    def writing(self, *, alone: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction with the write lock: committed at the end, rolled back by an exception.

        Inside another one of the same thread it is a part of that.

        Args:
            alone: Refuse to be a part of another one, which would undo rows whose files are gone.

        Raises:
            OSError: If the disk is full.
            StoreBusyError: If the lock is not free in time.
            RuntimeError: If it must be alone and is not, or if the database is read only.
        """
        if self.read_only:
            raise RuntimeError(f"{self.path} was opened to be read only; open the store without read_only to write")
        with self._lock:
            if self._connection.in_transaction:
                if alone:
                    raise RuntimeError("images are added and forgotten outside of Store.transaction(); end it before")
                yield self._connection
                return
            self._patiently(lambda: self._connection.execute("BEGIN IMMEDIATE"))
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                if _code(error) == sqlite3.SQLITE_FULL:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path)) from error
                raise

    def _roll_back(self) -> None:
        # SQLite has ended the transaction by itself where the disk was full.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._lock:
            return self._patiently(lambda: self._connection.execute(sql, arguments).fetchall())

    def row(self, sql: str, arguments: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, None if there is none."""
        found = self.rows(sql, arguments)
        return found[0] if found else None

    def version(self) -> int:
        """Number that another one follows once another connection has written; equal ones mean that nothing changed."""
        found = self.row("PRAGMA data_version")
        return int(found[0]) if found else 0

    def truncate_log(self) -> None:
        """Move what was written into the database and empty the log; readers elsewhere may leave some for later."""
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def close(self) -> None:
        """Close the connection; the last one of all processes tidies the log away."""
        with self._lock:
            self._connection.close()

    def _patiently(self, action: Callable[[], T]) -> T:
        for number in range(TRIES):
            try:
                return action()
            except sqlite3.OperationalError as error:
                if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                cause = error
                time.sleep(_PAUSE * 2**number)
        raise StoreBusyError(
            f"{self.path} was locked by another process in each of {TRIES} tries; end a process that hangs, "
            "or give more busy_seconds"
        ) from cause


def _code(error: BaseException) -> int:
    """SQLite's primary code of an error, 0 if it is not one of SQLite's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
