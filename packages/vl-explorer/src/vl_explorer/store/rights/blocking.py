"""The block list: what was taken down, kept as hashes alone, so that the list says nothing of what it keeps out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from hashlib import sha256

from vl_explorer.store.likeness.hashing import DISTANCE, QUALITY, HashIndex, PerceptualHash
from vl_explorer.store.rows import clean


def block(connection: sqlite3.Connection, kind: str, values: Iterable[str], time: float) -> None:
    """Add values of a kind (``url``, ``sha256`` or ``hash``) to the list."""
    connection.executemany(
        "INSERT INTO blocked (kind, value, blocked_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(kind, value, time) for value in values],
    )


def url_key(url: str) -> str:
    """Hash that the list holds of a URL."""
    return sha256(clean(url, None).encode()).hexdigest()


def is_blocked_url(connection: sqlite3.Connection, *urls: str) -> bool:
    """Return True if one of the URLs, of an image or its page, was taken down."""
    return any(_is_listed(connection, "url", url_key(url)) for url in urls if url)


def is_blocked_image(connection: sqlite3.Connection, digest: str, found: PerceptualHash) -> bool:
    """Return True if an image was taken down, or looks like one that was."""
    if _is_listed(connection, "sha256", digest):
        return True
    if found.quality < QUALITY:
        return False
    rows = connection.execute("SELECT value FROM blocked WHERE kind = 'hash' ORDER BY number")
    return bool(HashIndex(PerceptualHash.from_hex(value) for (value,) in rows).near(found, DISTANCE))


def _is_listed(connection: sqlite3.Connection, kind: str, value: str) -> bool:
    found = connection.execute("SELECT 1 FROM blocked WHERE kind = ? AND value = ?", (kind, value))
    return found.fetchone() is not None
