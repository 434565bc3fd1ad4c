"""Places of dual encoders, known without torch: built in, in a folder, or on the hub."""

from __future__ import annotations

import difflib
import os
import re
from importlib.resources import files
from pathlib import Path

from vl_core.files import read_json

PRETRAINED = Path(str(files("vl_vlm") / "pretrained"))
BUILT_IN = tuple(sorted(path.parent.name for path in PRETRAINED.glob("*/config.json")))
"""Names of the models that ship with the package."""
_KEYS = {"loss", "dim", "image_size", "mean", "std", "context_length", "libraries"}


def model_folder(source: str | os.PathLike[str]) -> Path | None:
    """Folder of a built-in model, or one that `DualEncoder.save_pretrained` wrote, ``~`` being the home directory.

    Returns:
        None for what can only be a model on the hub, ``owner/name``.

    Raises:
        FileNotFoundError: If there is no such folder, and it is no id of the hub.
        ValueError: If the folder holds another kind of model, or lacks a file.
    """
    name = os.fspath(source)
    folder = PRETRAINED / name if name in BUILT_IN else Path(name).expanduser()
    if not folder.exists():
        if isinstance(source, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", name, re.ASCII):
            return None
        close = difflib.get_close_matches(name, BUILT_IN, n=1)
        advice = f"; did you mean {close[0]}?" if close else ""
        raise FileNotFoundError(
            f"no model {name!r}: it is neither built in ({', '.join(BUILT_IN)}), nor a folder, nor a hub id of the "
            f"form owner/name{advice}"
        )
    read_configuration(folder)
    return folder


def read_configuration(folder: Path) -> dict[str, object]:
    """Read ``config.json`` of a saved dual encoder.

    Raises:
        ValueError: If a file is missing, damaged, or of another kind of model.
    """
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} holds no dual encoder: {name} is missing; pass a folder that save_pretrained wrote"
            )
    found: dict[str, object] = read_json(folder / "config.json", dict)
    if not found.keys() >= _KEYS:
        kind = str(found.get("model_type", "unknown"))
        raise ValueError(
            f"{folder / 'config.json'} is that of another model ({kind}); load it with its own library, and "
            "evaluate it with from_transformers or from_open_clip"
        )
    return found


def transformers_kind(source: str | os.PathLike[str]) -> str | None:
    """Type of the transformers model in a folder, such as ``"clip"``; None for anything else."""
    path = Path(source).expanduser() / "config.json"
    if os.fspath(source) in BUILT_IN or not path.is_file():
        return None
    found = read_json(path, dict).get("model_type")
    return None if found is None else str(found)
