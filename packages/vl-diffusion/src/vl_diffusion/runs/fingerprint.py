"""Checksums of model files, to detect a model that changed between runs."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from vl_core.files import read_json
from vl_core.runs import file_sha256, files_sha256

_READ = ("*.json", "*.safetensors", "merges.txt")


def fingerprint(folder: Path, config: Path | None = None) -> str:
    """SHA-256 over the names and contents of a model's files.

    Covers the files that loading reads, in the folder itself and, for a pipeline, in the subfolders named in
    ``model_index.json``; other files are ignored.

    Args:
        folder: A folder, or a single file, that :func:`vl_diffusion.models.loading.load_denoiser` can load.
        config: Folder of the configuration of a single file.

    Returns:
        64 hexadecimal digits.
    """
    if folder.is_file():
        parts = [file_sha256(folder), *([] if config is None else [fingerprint(config)])]
        return sha256("".join(parts).encode()).hexdigest()
    index = folder / "model_index.json"
    subfolders = read_json(index, dict) if index.is_file() else ()
    folders = [folder, *(folder / name for name in subfolders)]
    files = [path for part in folders for kind in _READ for path in part.glob(kind)]
    return files_sha256(folder, (path.relative_to(folder).as_posix() for path in files))
