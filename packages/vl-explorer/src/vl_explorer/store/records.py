"""Database, files and settings that every part of a store works on."""

from __future__ import annotations

from collections.abc import Callable

from vl_explorer.store.disk.database import Database
from vl_explorer.store.disk.files import ImageFiles


class Records:
    """Base of the parts of `Store`: each part is the methods of a few tables."""

    database: Database
    """Of the store."""
    files: ImageFiles
    """Of the store."""
    owner: str
    """Name under which this process claims URLs."""
    quota: int | None
    """Bytes that image files may take."""
    clock: Callable[[], float]
    """Seconds since 1970."""
