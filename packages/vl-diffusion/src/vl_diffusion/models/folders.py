"""Folders of saved models: the built-in ones, and reading a model's JSON files."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any, TypeVar

from vl_core import files

from vl_diffusion.models.schedule import NoiseSchedule

PRETRAINED = Path(str(importlib.resources.files("vl_diffusion") / "pretrained"))
"""The folder of the models that ship inside the package."""

BUILT_IN = tuple(sorted({path.parent.name for path in PRETRAINED.glob("*/*.json")}))
"""Names of the diffusion models that ship inside the package."""

_Content = TypeVar("_Content", dict[str, Any], list[Any])


def local_folder(path_or_id: str | Path) -> Path | None:
    """Local folder or single file of a model: that of a built-in one, or the path itself; None for a hub id.

    A leading ``~`` is the home directory, and the ``model_index.json`` or ``config.json`` of a folder stands for it.
    """
    if str(path_or_id) in BUILT_IN:
        return PRETRAINED / str(path_or_id)
    path = Path(path_or_id).expanduser()
    if path.name in ("model_index.json", "config.json") and path.is_file():
        return path.parent
    return path if path.exists() else None


def check_model_name(path_or_id: str | Path) -> None:
    """Check that a model can be what it is said to be, without asking the hub.

    Raises:
        FileNotFoundError: If it is neither built in, nor a path that exists, nor of the form of a hub id.
    """
    name = str(path_or_id)
    if local_folder(name) is None and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise FileNotFoundError(f"{no_model(name)} not a hub id of the form owner/name")


def no_model(name: str) -> str:
    """The beginning of the message that a model is in none of the places searched."""
    return f"no model {name!r}: not a local folder, not built in ({', '.join(BUILT_IN)}), and"


def read_schedule(path: Path) -> NoiseSchedule:
    """Read the schedule from a ``scheduler_config.json``.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not JSON, or the schedule is not supported; the message names the file.
    """
    config = read_json(path, dict)
    try:
        return NoiseSchedule.from_config(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_json(path: Path, kind: type[_Content]) -> _Content:
    """Read a JSON file whose content must be of type `kind`, `dict` or `list`."""
    content: _Content = files.read_json(path, kind)
    return content
