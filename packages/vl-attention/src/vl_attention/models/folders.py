"""Places of models: built in, in a folder, or on the hub; known without torch."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

PRETRAINED = Path(str(files("vl_attention") / "pretrained"))

BUILT_IN = tuple(sorted(path.parent.name for path in PRETRAINED.glob("*/config.json")))
"""Names of the models that ship with the package."""


def model_folder(source: str | os.PathLike[str]) -> Path:
    """The folder of a built-in or local model; it does not exist for a hub id."""
    return PRETRAINED / source if str(source) in BUILT_IN else Path(source)


def check_model_name(source: str | os.PathLike[str]) -> None:
    """Check that a model can be what it is said to be, without asking the hub.

    Raises:
        FileNotFoundError: If it is neither built in, nor a path that exists, nor of the form of a hub id.
    """
    hub_id = isinstance(source, str) and source.count("/") == 1 and not source.startswith((".", "/", "~"))
    if not hub_id and not model_folder(source).exists():
        raise FileNotFoundError(
            f"no model {os.fspath(source)!r}: it is neither a built-in model ({', '.join(BUILT_IN)}), nor a folder, "
            "nor a hub id of the form owner/name"
        )
