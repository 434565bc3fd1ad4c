"""Checksums of model files, to detect a model that changed between runs."""

from __future__ import annotations

import json
from pathlib import Path

from vl_core.runs import files_sha256

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
    files = [path for part in folders for kind in _READ for path in part.glob(kind)]
    return files_sha256(folder, (path.relative_to(folder).as_posix() for path in files))
