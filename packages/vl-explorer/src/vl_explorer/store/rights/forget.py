"""Takedown: an image, its rows and its file go, and a block list of hashes keeps it from coming back.

What goes is more than the file that was named: the same content under other URLs, and versions of it that look the
same. A takedown that keeps out too much costs an image; one that keeps out too little breaks a promise.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from vl_explorer.store.disk.files import is_digest
from vl_explorer.store.likeness.hashing import DISTANCE, QUALITY, HashIndex, PerceptualHash
from vl_explorer.store.rights.blocking import block, url_key
from vl_explorer.store.rows import clean
from vl_explorer.store.store import Store

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:.+")


@dataclass(frozen=True)
class Forgotten:
    """Counts of what a takedown removed."""

    images: int
    """Images with their files, sources and rewards."""
    urls: int
    """URLs that may not come back."""
    results: int
    """Search results that named one of them."""


def forget(store: Store, target: str) -> Forgotten:
    """Remove an image for good.

    Args:
        store: Other processes may be using it.
        target: The URL of an image or of a page, written as the store lists it, which takes all images from that page
            down; or 64 hexadecimal digits, the SHA-256 of a file or the perceptual hash of an image. It need not be in
            the store: what is not there yet stays out.

    Returns:
        Counts of what went; a takedown that is said twice finds nothing the second time.

    Raises:
        RuntimeError: Inside of `Store.transaction`.
        ValueError: If `target` is neither.
    """
    target = read_target(target)
    digits = [target] if is_digest(target) else []
    with store.database.writing(alone=True) as connection:
        named = _named(connection, target)
        hashes = [row[2] for row in named if row[3] >= QUALITY] + digits
        images = dict([row[:2] for row in named] + _alike(connection, hashes))
        urls = _urls_of(connection, images) | (set() if digits else {target})
        block(connection, "url", map(url_key, sorted(urls)), store.clock())
        block(connection, "sha256", sorted({*images, *digits}), store.clock())
        block(connection, "hash", sorted(set(hashes)), store.clock())
        results = _delete(connection, images, urls)
    store.remove_unstored(list(images.items()))
    # The log of the database may still hold what was deleted.
    store.database.truncate_log()
    return Forgotten(len(images), len(urls), results)


def read_target(target: str) -> str:
    """The target of a takedown as it is looked for, digits in lower case.

    Raises:
        ValueError: If it is neither a URL nor 64 hexadecimal digits.
    """
    text = clean(target.strip(), None)
    if is_digest(text.lower()):
        return text.lower()
    if not _URL.fullmatch(text):
        raise ValueError(f"target must be a URL or 64 hexadecimal digits, got {text[:80]!r}")
    return text


def _named(connection: sqlite3.Connection, target: str) -> list[tuple[str, str, str, int]]:
    """Digest, extension, perceptual hash and quality of the images that a target names."""
    return connection.execute(
        "SELECT sha256, extension, hash, quality FROM images WHERE sha256 = ? "
        "OR sha256 IN (SELECT image FROM sources WHERE url = ? OR page_url = ?)",
        (target, target, target),
    ).fetchall()


def _alike(connection: sqlite3.Connection, hashes: Iterable[str]) -> list[tuple[str, str]]:
    """Digest and extension of the images that look like one of the hashes."""
    sought = [PerceptualHash.from_hex(digits) for digits in hashes]
    if not sought:
        return []
    rows = connection.execute("SELECT sha256, extension, hash FROM images WHERE quality >= ?", (QUALITY,)).fetchall()
    index = HashIndex(PerceptualHash.from_hex(row[2]) for row in rows)
    return [rows[place][:2] for one in sought for place, _ in index.near(one, DISTANCE)]


def _urls_of(connection: sqlite3.Connection, digests: Iterable[str]) -> set[str]:
    return {
        str(url)
        for digest in digests
        for (url,) in connection.execute("SELECT url FROM sources WHERE image = ?", (digest,))
    }


def _delete(connection: sqlite3.Connection, digests: Iterable[str], urls: Iterable[str]) -> int:
    """Delete all rows of images and URLs; sources and rewards go with their images. Returns the number of results."""
    count = 0
    connection.executemany("DELETE FROM images WHERE sha256 = ?", [(digest,) for digest in digests])
    for url in urls:
        connection.execute("DELETE FROM failures WHERE url = ?", (url,))
        connection.execute("DELETE FROM claims WHERE url = ?", (url,))
        count += connection.execute("DELETE FROM results WHERE url = ? OR page_url = ?", (url, url)).rowcount
    return count
