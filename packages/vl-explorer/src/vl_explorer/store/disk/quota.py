"""Bytes on disk: where they exceed the quota, files of low reward go, and what is known of their images stays."""

from __future__ import annotations

import sqlite3

LEFT = 0.9
"""Share of the quota that is left in use, so that not every further image evicts another."""

_WORST_FIRST = """SELECT sha256, extension, size FROM images
    LEFT JOIN (SELECT image, max(value) AS value FROM rewards GROUP BY image) ON image = sha256
    WHERE stored ORDER BY value IS NULL, value, number"""


def check_quota(quota: int | None) -> int | None:
    """Return the quota.

    Raises:
        ValueError: If it is not a number of bytes of at least 1, or None.
    """
    if quota is not None and (not isinstance(quota, int) or quota < 1):
        raise ValueError(f"quota must be a whole number of bytes of at least 1, or None, got {quota!r}")
    return quota


def evict(connection: sqlite3.Connection, quota: int) -> list[tuple[str, str]]:
    """Mark images as evicted until the files that are left take at most nine tenths of the quota.

    The lowest rewards go first, by the best run of each image; of equal rewards the oldest; and images without a reward
    come last, since they were not yet looked at. Nothing happens while the quota is kept.

    Args:
        connection: In a transaction with the write lock.
        quota: In bytes.

    Returns:
        Digests and extensions of the files to be removed once the transaction is over.
    """
    used = int(connection.execute("SELECT bytes FROM disk").fetchone()[0])
    if used <= quota:
        return []
    evicted = []
    for digest, extension, size in connection.execute(_WORST_FIRST):
        if used <= LEFT * quota:
            break
        evicted.append((str(digest), str(extension)))
        used -= size
    connection.executemany("UPDATE images SET stored = 0 WHERE sha256 = ?", [(digest,) for digest, _ in evicted])
    return evicted
