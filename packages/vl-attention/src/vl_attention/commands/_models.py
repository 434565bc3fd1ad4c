"""Load and name the models given to a command, and describe their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from vl_core.runs import files_sha256

from vl_attention.classifiers.saved_models import class_names, load_classifier, load_model
from vl_attention.models.folders import check_own_maps, model_folder, transfer_mode, unique_names
from vl_attention.models.inference import call_model, eval_mode
from vl_attention.models.normalization import Normalization

_READ = ("config.json", "model.safetensors")


@dataclass(frozen=True, eq=False)
class GivenModel:
    """One model given to a command."""

    name: str
    """Short unique name."""
    model: Any
    """The model in evaluation mode, on the device; classifiers take images in 0..1."""
    size: tuple[int, int]
    """Height and width of its input images."""
    channels: int
    """1 for grayscale, 3 for color."""
    classes: tuple[str, ...]
    """Class names in the order of the logits; empty if unknown."""
    num_classes: int
    """Number of logits."""
    sha256: str
    """SHA-256 of its files, and of its teacher's if it copies; for a hub id, the id itself."""


def load_classifiers(sources: Sequence[str], teacher: str | None, device: str) -> list[GivenModel]:
    """Load classifiers, so that errors are found before anything is computed.

    Args:
        sources: Models as in `vl_attention.classifiers.saved_models.load_model`.
        teacher: The teacher of students that copy; not used by others.
        device: Device of the models.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If one is given twice, is damaged, has no classifier, lacks its teacher, or does not accept images
            of its input size.
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
                error.add_note("pass it with --teacher")
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
    """Load models for attention analysis; they need no classifier.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If one is given twice, is damaged, is a student that copies, or does not accept images of its
            input size.
    """
    names = unique_names(sources, "models")
    given = []
    for name, source in zip(names, sources, strict=True):
        check_own_maps(source)
        model = load_model(source).eval().to(device)
        size, channels = input_size(model), len(Normalization.of(model).mean)
        check_takes(source, model, size, channels)
        count = int(getattr(model, "num_classes", 0) or 0)
        given.append(GivenModel(name, model, size, channels, class_names(model), count, fingerprint(source)))
    return given


def check_takes(source: str, model: Any, size: tuple[int, int], channels: int) -> None:
    """Check that a model accepts images of its input size, with one gray image.

    Raises:
        ValueError: If the model does not; its error is in the message.
    """
    image = torch.full((1, channels, *size), 0.5, device=next(model.parameters()).device)
    try:
        with torch.no_grad(), eval_mode(model):
            call_model(model, image)
    # timm and torch raise these if shapes do not fit.
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{source} does not take images of {size[0]}x{size[1]} pixels and {channels} "
            f"{'channel' if channels == 1 else 'channels'} ({reason}); use the teacher or the files that it was "
            "created with"
        ) from error


def input_size(model: Any) -> tuple[int, int]:
    """Height and width of the input images of a timm model."""
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    if size is None:
        size = (getattr(model, "pretrained_cfg", None) or {}).get("input_size", (3, 224, 224))[1:]
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def fingerprint(source: str) -> str:
    """SHA-256 of the files that loading a model reads; a hub id is assumed to stay the same."""
    folder = model_folder(source)
    return files_sha256(folder, _READ) if folder.is_dir() else source
