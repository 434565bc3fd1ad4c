"""Claims on the downloads of URLs, and URLs that gave nothing.

A claim is a lease: of all processes on a store one holds it, and when that process dies it runs out. A process that
resumes under the same owner's name takes its own claims up again at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from vl_explorer.store.records import Records
from vl_explorer.store.rights.blocking import is_blocked_url
from vl_explorer.store.rows import Failure, clean


class Claim(StrEnum):
    """Answer to a claim."""

    GRANTED = "granted"
    """Download it, and say what came of it by `add_image` or `add_failure` before the lease ends."""
    HELD = "held"
    """Another process is downloading it."""
    STORED = "stored"
    """Its image is known already."""
    FAILED = "failed"
    """It failed before; see `Store.allow_retry`."""
    BLOCKED = "blocked"
    """It was taken down."""


class Claims(Records):
    """The part of a store that keeps an image from being downloaded twice."""

    def claim(self, url: str, *, lease: float = 300.0) -> Claim:
        """Ask for the right to download a URL.

        Args:
            url: Of an image.
            lease: Seconds after which another process may claim it. The download must be over by then; claim again
                to stay the owner.

        Raises:
            ValueError: If `lease` is not above 0.
        """
        if not lease > 0:
            raise ValueError(f"lease must be above 0 seconds, got {lease}; allow for the longest download")
        url, now = clean(url, None), self.clock()
        with self.database.writing() as connection:
            if is_blocked_url(connection, url):
                return Claim.BLOCKED
            if connection.execute("SELECT 1 FROM sources WHERE url = ?", (url,)).fetchone():
                return Claim.STORED
            if connection.execute("SELECT 1 FROM failures WHERE url = ? AND NOT retry", (url,)).fetchone():
                return Claim.FAILED
            held = connection.execute(
                "SELECT 1 FROM claims WHERE url = ? AND owner != ? AND expires_at > ?", (url, self.owner, now)
            )
            if held.fetchone():
                return Claim.HELD
            connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (url, self.owner, now + lease))
        return Claim.GRANTED

    def release(self, url: str) -> None:
        """Give up a claim of one's own, with nothing to say about the URL."""
        with self.database.writing() as connection:
            connection.execute("DELETE FROM claims WHERE url = ? AND owner = ?", (clean(url, None), self.owner))

    def add_failure(self, url: str, reason: str, detail: str = "") -> None:
        """Say that a URL gave no image.

        Args:
            url: That was claimed.
            reason: One word, such as those of the downloader or ``duplicate``, by which `allow_retry` selects.
            detail: For the reader.
        """
        url = clean(url, None)
        with self.database.writing() as connection:
            connection.execute("DELETE FROM claims WHERE url = ?", (url,))
            if not is_blocked_url(connection, url):
                connection.execute(
                    "INSERT INTO failures (url, reason, detail, tries, failed_at) VALUES (?, ?, ?, 1, ?) "
                    "ON CONFLICT (url) DO UPDATE SET reason = excluded.reason, detail = excluded.detail, "
                    "tries = tries + 1, retry = 0, failed_at = excluded.failed_at",
                    (url, clean(reason), clean(detail), self.clock()),
                )

    def failures(self, reasons: Iterable[str] | None = None) -> list[Failure]:
        """URLs that gave no image, by default for any reason, in the order of their URLs."""
        wanted = None if reasons is None else set(reasons)
        rows = self.database.rows("SELECT url, reason, detail, tries, retry FROM failures ORDER BY url")
        found = (Failure(url, reason, detail, tries, bool(retry)) for url, reason, detail, tries, retry in rows)
        return [failure for failure in found if wanted is None or failure.reason in wanted]

    def allow_retry(self, reasons: Iterable[str]) -> int:
        """Allow that URLs which failed for these reasons be claimed again; returns their number."""
        with self.database.writing() as connection:
            return sum(
                connection.execute("UPDATE failures SET retry = 1 WHERE reason = ? AND NOT retry", (reason,)).rowcount
                for reason in set(reasons)
            )
