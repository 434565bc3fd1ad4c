"""The public door of a store."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vl_explorer.store.contents import list_content
from vl_explorer.store.counts import Counts
from vl_explorer.store.disk.database import Database
from vl_explorer.store.disk.files import ImageFiles
from vl_explorer.store.disk.quota import check_quota
from vl_explorer.store.disk.recovery import find_faults, recover
from vl_explorer.store.images import Images
from vl_explorer.store.rewards import Rewards
from vl_explorer.store.searches import Searches


class Store(Searches, Images, Rewards, Counts):
    """A folder with all that runs found: ``store.sqlite``, and ``images/ab/cdef….jpg`` named by content.

    Several processes of one machine may use it at once, and each of them may be killed at any moment: opening the
    folder again removes what was left half done. Threads of a process take turns. The folder must lie on a disk of the
    machine, since SQLite shares no memory over a network.

    Args:
        folder: Made where it is missing.
        quota: Bytes that image files may take, see `vl_explorer.store.disk.quota`; None is without bound.
        owner: Name under which URLs are claimed. A process that resumes takes up the claims of its name at once, so
            processes at work at the same time need names of their own; by default a random one.
        busy_seconds: How long one of four tries waits for another process to finish writing.
        clock: Seconds since 1970.
        read_only: Open a store that is there for a look while others write to it: nothing is made, tidied up or
            upgraded, and writing is refused.

    Raises:
        FileNotFoundError: If a store that is to be read only is not there.
        OSError: If the folder cannot be made or written to.
        StoreBusyError: If another process holds the database all the time.
        ValueError: If the folder holds something else, or a store of a later version.

    Example:
        >>> with Store("found") as store:
        ...     run = store.add_run("birds", {"seed": 0})
        ...     iteration = store.add_iteration(run.id, 0)
        ...     query = store.add_query(run.id, 0, 0, "heron", engine="captions")
        ...     answer = store.claim("https://example.org/heron.jpg")
        >>> answer.value
        'granted'
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        quota: int | None = None,
        owner: str | None = None,
        busy_seconds: float = 30.0,
        clock: Callable[[], float] = time.time,
        read_only: bool = False,
    ) -> None:
        self.quota = check_quota(quota)
        self.folder = Path(folder)
        self.owner = secrets.token_hex(8) if owner is None else owner
        self.clock = clock
        path = self.folder / "store.sqlite"
        if read_only and not path.is_file():
            raise FileNotFoundError(f"{path} must be the database of a store, but there is none; name its folder")
        if not read_only:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.database = Database(path, busy_seconds, read_only=read_only)
        try:
            self.files = ImageFiles(self.folder, read_only=read_only)
            self.recovered = (0, 0) if read_only else recover(self.database, self.files)
            """Files and rows that were removed on opening, since a kill had left them."""
        except BaseException:
            self.database.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the writes of a block one: all of them are in the store, or none.

        Meant for a few writes, such as the rewards of an iteration and its end; other processes wait meanwhile. Images,
        which have files, are added and forgotten outside of it.
        """
        with self.database.writing():
            yield

    def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows by table, sorted, without times and claims: equal for two stores that hold the same."""
        return list_content(self.database)

    def faults(self, *, contents: bool = False) -> list[str]:
        """Faults of a store that no process is writing to, a line each; with `contents` every file is read."""
        return find_faults(self.database, self.files, contents=contents)

    def close(self) -> None:
        """Close the store; it may not be used afterwards."""
        self.database.close()

    def __enter__(self) -> Self:
        """Give the store, which the end of the block closes."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
