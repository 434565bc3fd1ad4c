"""The models that a command was given: loaded, named, and what enters each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vl_attention.classifiers.saved_models import class_names, load_classifier, load_model, model_folder, transfer_mode
from vl_attention.models.inference import call_model, eval_mode
from vl_attention.models.normalization import Normalization

_READ = ("config.json", "model.safetensors")


@dataclass(frozen=True, eq=False)
class GivenModel:
    """One model."""

    name: str
    """Short, and no other's."""
    model: Any
    """In evaluation mode, on the device: it takes images in 0..1, if it is a classifier."""
    size: tuple[int, int]
    """Height and width of the images that it was made for."""
    channels: int
    """1 for grayscale, 3 for color."""
    classes: tuple[str, ...]
    """Names of its logits; none where they are not known."""
    num_classes: int
    """How many logits it has."""
    sha256: str
    """Of its files, and of its teacher's where it copies; of a hub id, the id itself."""


def load_classifiers(sources: Sequence[str], teacher: str | None, device: str) -> list[GivenModel]:
    """Load classifiers, so that what is wrong with one is known before anything is computed.

    Args:
        sources: As `vl_attention.classifiers.saved_models.load_model` takes them.
        teacher: Of students that copy; the others have no use for it.
        device: Where they compute.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If one is given twice, is damaged, has no classifier, lacks its teacher, or takes no images of the
            size that it was made for.
    """
    names = unique_names(sources, "models")
    loaded_teacher: Any = None
    given = []
    for name, source in zip(names, sources, strict=True):
        copies = transfer_mode(source) is not None
        if copies and teacher is not None and loaded_teacher is None:
            loaded_teacher = load_model(teacher)
        try:
            model = load_classifier(source, teacher=loaded_teacher if copies else None)
        except ValueError as error:
            if copies and teacher is None:
                error.add_note("--teacher says which")
            raise
        model.to(device)
        student: Any = model.student
        size, channels = input_size(student), len(model.student_normalization.mean)
        check_takes(source, model, size, channels)
        mark = fingerprint(source) + (fingerprint(teacher) if copies and teacher else "")
        given.append(
            GivenModel(
                name,
                model,
                size,
                channels,
                class_names(student),
                int(student.num_classes),
                mark,
            )
        )
    return given


def load_models(sources: Sequence[str], device: str) -> list[GivenModel]:
    """Load models whose attention is asked for; they need no classifier.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If one is given twice, is damaged, is a student that copies, or takes no images of the size that
            it was made for.
    """
    names = unique_names(sources, "models")
    given = []
    for name, source in zip(names, sources, strict=True):
        if (mode := transfer_mode(source)) is not None:
            raise ValueError(
                f"the student in {source} was saved as mode={mode!r} together with its teacher, and has no maps of its "
                "own; give its teacher instead"
            )
        model = load_model(source).eval().to(device)
        size, channels = input_size(model), len(Normalization.of(model).mean)
        check_takes(source, model, size, channels)
        count = int(getattr(model, "num_classes", 0) or 0)
        given.append(GivenModel(name, model, size, channels, class_names(model), count, fingerprint(source)))
    return given


def unique_names(sources: Sequence[str], argument: str) -> list[str]:
    """The last part of each path, or as many of its last parts as tell it from the others.

    The last part ``model``, as training calls all of its models, is never a name by itself: others that are named later
    would change it.

    Raises:
        ValueError: If there are none, or one is given twice.

    Example:
        >>> unique_names(["runs/a/model", "teacher"], "models")
        ['a/model', 'teacher']
    """
    if not sources:
        raise ValueError(f"{argument} must name at least one, got none")
    parts = [_parts(source) for source in sources]
    places = [str(Path(source).resolve()) for source in sources]
    twice = next((source for source, place in zip(sources, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise ValueError(f"{argument} must differ, got {twice!r} more than once; leave one out")
    names = []
    for own in parts:
        first = min(2 if own[-1] == "model" else 1, len(own))
        count = next(
            n for n in range(first, len(own) + 1) if n == len(own) or [p[-n:] for p in parts].count(own[-n:]) == 1
        )
        names.append("/".join(own[-count:]))
    return names


def check_takes(source: str, model: Any, size: tuple[int, int], channels: int) -> None:
    """Raise where a model does not take one gray image of the size that is meant for it.

    Raises:
        ValueError: If the model refuses it; its words are in the message.
    """
    image = torch.full((1, channels, *size), 0.5, device=next(model.parameters()).device)
    try:
        with torch.no_grad(), eval_mode(model):
            call_model(model, image)
    # timm says in these ways that shapes do not fit, and so does torch.
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{source} does not take images of {size[0]}x{size[1]} pixels and {channels} "
            f"{'channel' if channels == 1 else 'channels'} ({reason}); give it the teacher or the files that it was "
            "made with"
        ) from error


def _parts(source: str) -> tuple[str, ...]:
    """Of the path as it was given; of where it leads, if it says no more than how to get there."""
    found = Path(source).parts
    return Path(source).resolve().parts if ".." in found or found in ((), ("model",)) else found


def input_size(model: Any) -> tuple[int, int]:
    """Height and width of the images that a model of timm was made for."""
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    if size is None:
        size = (getattr(model, "pretrained_cfg", None) or {}).get("input_size", (3, 224, 224))[1:]
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def fingerprint(source: str) -> str:
    """SHA-256 of what loading a model reads; what the hub gives for an id is taken to stay the same."""
    folder = model_folder(source)
    if not folder.is_dir():
        return source
    total = hashlib.sha256()
    for name in _READ:
        with (folder / name).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
