"""Places of models: built in, in a folder, or on the hub; and what their files tell without torch."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from vl_core.files import read_json, tensor_names

PRETRAINED = Path(str(files("vl_attention") / "pretrained"))

BUILT_IN = tuple(sorted(path.parent.name for path in PRETRAINED.glob("*/config.json")))
"""Names of the models that ship with the package."""


def model_folder(source: str | os.PathLike[str]) -> Path:
    """The folder of a built-in or local model, ``~`` being the home directory; none exists for a hub id."""
    return PRETRAINED / source if str(source) in BUILT_IN else Path(source).expanduser()


def check_model_name(source: str | os.PathLike[str]) -> None:
    """Check that a model can be what it is said to be, without asking the hub.

    Raises:
        FileNotFoundError: If it is neither built in, nor a path that exists, nor of the form of a hub id.
    """
    name = os.fspath(source)
    hub_id = isinstance(source, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", name, re.ASCII)
    if not hub_id and not model_folder(source).exists():
        close = difflib.get_close_matches(name, BUILT_IN, n=1)
        advice = f"did you mean {close[0]}?" if close else "check the path, or pass a model of timm as timm/NAME"
        raise FileNotFoundError(f"{no_model(name)}, nor a hub id of the form owner/name; {advice}")


def no_model(name: str) -> str:
    """The beginning of the message that a model is in none of the places searched."""
    return f"no model {name!r}: it is neither built in ({', '.join(BUILT_IN)}), nor a local folder"


def check_models(sources: Sequence[str], argument: str = "models") -> None:
    """Check what the files of models tell, of which the attention is used; those on the hub are not asked for.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If there are none, one is given twice, a file is missing, or one is a student that copies.
    """
    unique_names(sources, argument)
    for source in sources:
        _check_whole(source)
        check_own_maps(source)


def check_classifiers(sources: Sequence[str], teacher: str | None) -> None:
    """Check what the files of classifiers and of the teacher of those that copy tell; see `check_models`.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If there are none, one is given twice, has no classifier or lacks its teacher, or a file is missing.
    """
    unique_names(sources, "models")
    if teacher is not None:
        _check_whole(teacher)
    for source in sources:
        _check_whole(source)
        if transfer_mode(source) is not None:
            if teacher is None:
                error = ValueError(f"the student in {model_folder(source)} needs its teacher")
                error.add_note("pass it with --teacher")
                raise error
        elif configuration(model_folder(source)).get("num_classes") == 0:
            raise ValueError(f"{source} has no classifier, like a teacher; train one first")


def check_own_maps(source: str | os.PathLike[str]) -> None:
    """Raise ValueError if a model is a student that was saved with its teacher, from which it may have its maps."""
    if (mode := transfer_mode(source)) is not None:
        raise ValueError(
            f"the student in {os.fspath(source)} was saved as mode={mode!r} together with its teacher, and has no maps "
            "of its own; pass its teacher instead"
        )


def _check_whole(source: str) -> None:
    check_model_name(source)
    if (folder := model_folder(source)).exists():
        check_files(folder)


def check_files(folder: Path) -> None:
    """Check that a folder has what `save_model` or `AttentionTransfer.save_pretrained` writes.

    Raises:
        ValueError: If a file is missing, damaged, or of another kind; the message says what to do.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; pass the folder of a model, with config.json and model.safetensors")
    missing = next((name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()), None)
    if missing is not None:
        raise ValueError(f"{folder} holds no timm model: {missing} is missing; {_instead(folder)}")
    content = read_json(folder / "config.json", dict)
    if not isinstance(content.get("architecture"), str) and "mode" not in content:
        kind = f"that of a transformers model, {content['model_type']}" if "model_type" in content else "not timm's"
        raise ValueError(f"{folder / 'config.json'} is {kind}: it names no architecture; write one with save_model")
    tensor_names(folder / "model.safetensors")


def _instead(folder: Path) -> str:
    """Advice for a folder that lacks a file, from what is in it."""
    if inside := sorted(path.parent for path in folder.glob("*/config.json")):
        return f"pass the folder inside: {inside[0]}"
    if pickled := sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt")):
        return f"{pickled[0]} may be pickled, and is not read; load it where you trust it, and write it with save_model"
    return "write one with save_model"


def configuration(folder: Path) -> dict[str, Any]:
    """The contents of a folder's ``config.json``; empty if it is missing or damaged."""
    try:
        found = read_json(folder / "config.json")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def transfer_mode(source: str | os.PathLike[str]) -> str | None:
    """The mode of a student that was saved as an `AttentionTransfer`; None for a timm model."""
    found = configuration(model_folder(source))
    return str(found["mode"]) if "mode" in found and "architecture" not in found else None


def unique_names(sources: Sequence[str], argument: str) -> list[str]:
    """Shorten each path to its last part, or to as many of its last parts as make it unique.

    The part ``model``, the folder name that training uses for all models, is never a name by itself, so names do not
    change when models are added.

    Raises:
        ValueError: If there are none, or one is given twice.

    Example:
        >>> unique_names(["runs/a/model", "teacher"], "models")
        ['a/model', 'teacher']
    """
    if not sources:
        raise ValueError(f"{argument} must name at least one, got none")
    parts = [_parts(source) for source in sources]
    resolved = [str(Path(source).resolve()) for source in sources]
    twice = next((source for source, path in zip(sources, resolved, strict=True) if resolved.count(path) > 1), None)
    if twice is not None:
        raise ValueError(f"{argument} must be unique, got {twice!r} more than once; remove one")
    names = []
    for own in parts:
        first = min(2 if own[-1] == "model" else 1, len(own))
        count = next(
            n for n in range(first, len(own) + 1) if n == len(own) or [p[-n:] for p in parts].count(own[-n:]) == 1
        )
        names.append("/".join(own[-count:]))
    return names


def _parts(source: str) -> tuple[str, ...]:
    """Parts of the path as given, or of the resolved path if it is relative navigation only."""
    found = Path(source).parts
    return Path(source).resolve().parts if ".." in found or found in ((), ("model",)) else found
