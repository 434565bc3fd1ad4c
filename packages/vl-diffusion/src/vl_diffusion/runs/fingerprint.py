"""Checksums of model files, to detect a model that changed between runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_READ = ("*.json", "*.safetensors", "merges.txt")


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of a model's files.

    Covers the files that loading reads, in the folder itself and, for a pipeline, in the subfolders named in
    ``model_index.json``; other files are ignored.

    Args:
        folder: A folder that :func:`vl_diffusion.models.loading.load_denoiser` can load.

    Returns:
        64 hexadecimal digits.
    """
    index = folder / "model_index.json"
    parts = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else ()
    folders = [folder, *(folder / name for name in parts)]
    paths = {
        path.relative_to(folder).as_posix(): path for part in folders for kind in _READ for path in part.glob(kind)
    }
    total = hashlib.sha256()
    for name in sorted(paths):
        total.update(f"{name} {file_sha256(paths[name])}\n".encode())
    return total.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
