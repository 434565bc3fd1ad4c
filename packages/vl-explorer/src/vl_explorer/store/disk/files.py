"""Image files, each named by the SHA-256 of its content, so that no name ever comes from outside.

A file is written under a temporary name, flushed to the disk, and moved to its place while the write lock of the
database is held, in the transaction that adds its row. So whoever holds the lock sees no file in between: one without
a row was left behind by a killed process, and may go.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

EXTENSIONS = ("jpg", "png", "gif", "webp", "bmp", "tiff", "avif")
"""Kinds of files that are kept."""

_SIGNATURES = (
    (rb"\xff\xd8\xff", "jpg"),
    (rb"\x89PNG\r\n\x1a\n", "png"),
    (rb"GIF8[79]a", "gif"),
    (rb"RIFF....WEBP", "webp"),
    (rb"BM", "bmp"),
    (rb"II\*\0|MM\0\*", "tiff"),
    (rb"....ftypavi[fs]", "avif"),
)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_FILE = re.compile(rf"([0-9a-f]{{62}})\.({'|'.join(EXTENSIONS)})")


def is_digest(text: str) -> bool:
    """Return True if the text is a SHA-256 in hexadecimal digits."""
    return bool(_DIGEST.fullmatch(text))


def extension_of(content: bytes) -> str:
    """Extension of an image file by its first bytes.

    Raises:
        ValueError: If it is none of `EXTENSIONS`.

    Example:
        >>> extension_of(b"GIF89a...")
        'gif'
    """
    for signature, extension in _SIGNATURES:
        if re.match(signature, content, re.DOTALL):
            return extension
    raise ValueError(f"content must be an image ({', '.join(EXTENSIONS)}), got bytes that begin {content[:8]!r}")


class ImageFiles:
    """The files of a store: ``images/ab/cdef….jpg``, and ``incoming/`` for those not yet in their place.

    Args:
        folder: Of the store; the two folders are made where they are missing.
        read_only: Make no folders.

    Raises:
        ValueError: If one of the two is a link, behind which files would lie elsewhere.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.images, self.incoming = folder / "images", folder / "incoming"
        for path in (self.images, self.incoming):
            if path.is_symlink():
                raise ValueError(f"{path} must be a folder inside the store, got a link; move the folder itself")
            if not read_only:
                path.mkdir(exist_ok=True)

    def path(self, digest: str, extension: str) -> Path:
        """Place of a file.

        Raises:
            ValueError: If the name is not one that the store gives.
        """
        if not is_digest(digest) or extension not in EXTENSIONS:
            raise ValueError(
                f"an image must be named by a SHA-256 and a known extension, got {digest!r}, {extension!r}"
            )
        return self.images / digest[:2] / f"{digest[2:]}.{extension}"

    def prepare(self, content: bytes) -> Path:
        """Write content to the disk under a temporary name, to be placed later."""
        path = self.incoming / f"{secrets.token_hex(16)}.tmp"
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return path

    def place(self, prepared: Path, content: bytes, digest: str, extension: str) -> None:
        """Move a prepared file to its place; the write lock must be held."""
        path = self.path(digest, extension)
        path.parent.mkdir(exist_ok=True)
        try:
            prepared.replace(path)
        except FileNotFoundError:
            # Another process opened the store meanwhile, and took it for one left behind.
            self.prepare(content).replace(path)

    def remove(self, digest: str, extension: str) -> None:
        """Remove a file; nothing happens if there is none. The write lock must be held."""
        self.path(digest, extension).unlink(missing_ok=True)

    def names(self, prefix: str) -> set[tuple[str, str]]:
        """Digests and extensions of the files that begin with two digits."""
        folder = self.images / prefix
        if not _FOLDER.fullmatch(prefix) or not folder.is_dir():
            return set()
        found = (_FILE.fullmatch(entry.name) for entry in folder.iterdir())
        return {(prefix + match[1], match[2]) for match in found if match}

    def remove_incoming(self) -> int:
        """Remove temporary files; a living process that misses its own writes it again. Returns their number."""
        count = 0
        for path in self.incoming.glob("*.tmp"):
            try:
                path.unlink()
            except (FileNotFoundError, PermissionError):  # gone already; or, on Windows, open
                continue
            count += 1
        return count
