"""Digests of files, to detect an input that changed between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_sha256(folder: Path, names: Iterable[str]) -> str:
    """SHA-256 over the names and contents of files, 64 hexadecimal digits, whatever their order.

    Args:
        folder: The folder that contains the files.
        names: Paths of the files inside it, with forward slashes.
    """
    total = hashlib.sha256()
    for name in sorted(set(names)):
        total.update(f"{name} {file_sha256(folder / name)}\n".encode())
    return total.hexdigest()
