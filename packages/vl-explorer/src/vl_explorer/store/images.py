"""Images, by content, and the sources that each came from."""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, dataclass, replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from vl_explorer.store.claims import Claims
from vl_explorer.store.disk.files import extension_of
from vl_explorer.store.disk.quota import evict
from vl_explorer.store.likeness.hashing import PerceptualHash, perceptual_hash
from vl_explorer.store.rights.blocking import is_blocked_image, is_blocked_url
from vl_explorer.store.rows import Source, StoredImage, clean

_IMAGE = "SELECT number, sha256, extension, size, width, height, hash, quality, stored FROM images"
_SOURCE = "SELECT url, page_url, title, author, license, license_url, engine, query, fetched_at FROM sources"


class Outcome(StrEnum):
    """Outcome for an image that was offered."""

    NEW = "new"
    """It is in the store."""
    KNOWN = "known"
    """The same content was there already, and has one source more."""
    BLOCKED = "blocked"
    """It was taken down, so it stays out."""


@dataclass(frozen=True)
class Added:
    """Answer to an image that was offered."""

    sha256: str
    """Of the content that the URL stands for; of a URL that is known, the content that came first."""
    outcome: Outcome
    """Outcome for the image."""


class Images(Claims):
    """The part of a store that holds images."""

    def add_image(self, source: Source, content: bytes, image: Image.Image) -> Added:
        """Keep an image and where it came from; an image that is there already gets the source alone.

        The claim on the URL ends. If a quota is set, images of low reward may be evicted for it in the same step.

        Args:
            source: With the URL, which stands for one image for good.
            content: The file as it was downloaded.
            image: The same, decoded, for its size and its perceptual hash.

        Raises:
            OSError: If the disk is full; the store stays as it was.
            RuntimeError: Inside of `Store.transaction`.
            ValueError: If the content is no image file of a known kind.
        """
        digest, extension = sha256(content).hexdigest(), extension_of(content)
        found = perceptual_hash(image)
        prepared = self.files.prepare(content)
        try:
            with self.database.writing(alone=True) as connection:
                added, evicted = self._add(connection, source, digest, found), []
                if added.outcome is Outcome.NEW:
                    self._insert(connection, added.sha256, extension, len(content), image.size, found)
                    self.files.place(prepared, content, digest, extension)
                    evicted = [] if self.quota is None else evict(connection, self.quota)
                if added.outcome is not Outcome.BLOCKED:
                    self._insert_source(connection, source, added.sha256)
        finally:
            prepared.unlink(missing_ok=True)
        self.remove_unstored(evicted)
        return added

    def _add(self, connection: sqlite3.Connection, source: Source, digest: str, found: PerceptualHash) -> Added:
        """Decide on an image, and settle the claim on its URL."""
        url = clean(source.url, None)
        connection.execute("DELETE FROM claims WHERE url = ?", (url,))
        known = connection.execute("SELECT image FROM sources WHERE url = ?", (url,)).fetchone()
        if known:
            return Added(known[0], Outcome.KNOWN)
        if is_blocked_url(connection, url, source.page_url) or is_blocked_image(connection, digest, found):
            self.add_failure(url, "blocked", "taken down before")
            return Added(digest, Outcome.BLOCKED)
        connection.execute("DELETE FROM failures WHERE url = ?", (url,))
        there = connection.execute("SELECT 1 FROM images WHERE sha256 = ?", (digest,)).fetchone()
        return Added(digest, Outcome.KNOWN if there else Outcome.NEW)

    def _insert(
        self,
        connection: sqlite3.Connection,
        digest: str,
        extension: str,
        size: int,
        pixels: tuple[int, int],
        found: PerceptualHash,
    ) -> None:
        connection.execute(
            "INSERT INTO images (sha256, extension, size, width, height, hash, quality, added_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (digest, extension, size, *pixels, found.hex, found.quality, self.clock()),
        )

    def _insert_source(self, connection: sqlite3.Connection, source: Source, digest: str) -> None:
        url, page_url, *texts, _ = astuple(source)
        connection.execute(
            "INSERT OR IGNORE INTO sources (url, image, page_url, title, author, license, license_url, engine, query, "
            "fetched_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (clean(url, None), digest, clean(page_url, None), *map(clean, texts), self.clock()),
        )

    def remove_unstored(self, names: list[tuple[str, str]]) -> None:
        """Remove files of images that were evicted or forgotten, unless they came back meanwhile.

        Args:
            names: Digests and extensions, of which the rows went in a transaction that is over.
        """
        if not names:
            return
        with self.database.writing() as connection:
            for digest, extension in names:
                stored = connection.execute("SELECT 1 FROM images WHERE sha256 = ? AND stored", (digest,))
                if not stored.fetchone():
                    self.files.remove(digest, extension)

    def images(self, after: int = 0) -> list[StoredImage]:
        """Images in the order in which they came.

        Args:
            after: Only those with a larger number, to follow what other processes add.
        """
        rows = self.database.rows(f"{_IMAGE} WHERE number > ? ORDER BY number", (after,))
        return [_stored_image(row) for row in rows]

    def image(self, digest: str) -> StoredImage:
        """An image by the SHA-256 of its content.

        Raises:
            KeyError: If there is none.
        """
        row = self.database.row(f"{_IMAGE} WHERE sha256 = ?", (digest,))
        if row is None:
            raise KeyError(f"no image {digest!r} in the store; it may have been forgotten")
        return _stored_image(row)

    def image_at(self, url: str) -> StoredImage | None:
        """The image that a URL gave, None if it gave none so far."""
        row = self.database.row(
            "SELECT number, sha256, extension, size, width, height, hash, quality, stored "
            "FROM images JOIN sources ON image = sha256 WHERE url = ?",
            (clean(url, None),),
        )
        return None if row is None else _stored_image(row)

    def sources(self, digest: str) -> list[Source]:
        """Sources of an image, in the order of the URLs."""
        return [Source(*row) for row in self.database.rows(f"{_SOURCE} WHERE image = ? ORDER BY url", (digest,))]

    def path(self, digest: str) -> Path:
        """File of an image, for reading.

        Raises:
            KeyError: If there is no such image.
            FileNotFoundError: If the file was evicted.
        """
        found = self.image(digest)
        if not found.stored:
            raise FileNotFoundError(f"the file of image {digest} was evicted to keep the quota; give a larger quota")
        return self.files.path(digest, found.extension)

    def bytes_on_disk(self) -> int:
        """Bytes of all image files."""
        ((size,),) = self.database.rows("SELECT bytes FROM disk")
        return int(size)


def _stored_image(values: tuple[Any, ...]) -> StoredImage:
    found = StoredImage(*values)
    return replace(found, stored=bool(found.stored))
