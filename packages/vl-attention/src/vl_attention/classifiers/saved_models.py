"""Save and load models: timm folders (``config.json``, ``model.safetensors``), hub ids, and the built-in models.

A student that copies needs its teacher, so its folder is written by `AttentionTransfer.save_pretrained`.
"""

from __future__ import annotations

import copy
import io
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

import timm
import torch
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from timm.models import save_for_hf
from torch import nn
from vl_core.files import check_sizes, limit_network
from vl_core.training import weights_digest

from vl_attention.classifiers.classifier import Classifier
from vl_attention.models.folders import (
    check_files,
    check_model_name,
    configuration,
    model_folder,
    no_model,
    transfer_mode,
)
from vl_attention.models.normalization import Normalization
from vl_attention.transfer.attention_transfer import AttentionTransfer

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def save_model(
    model: nn.Module,
    folder: str | os.PathLike[str],
    *,
    normalization: Normalization | None = None,
    classes: Sequence[str] = (),
    dtype: torch.dtype | None = None,
) -> None:
    """Write a timm model, so that ``timm.create_model("local-dir:" + folder, pretrained=True)`` loads it.

    Args:
        model: A model made by ``timm.create_model``, or a student of such a model.
        folder: Where to write; created if it is missing.
        normalization: Normalization of images in 0..1; default: the model's own.
        classes: Class names, in the order of the logits.
        dtype: Floating-point type of the weights in the file, such as ``torch.float16`` for half the size; default: the
            model's own. The model itself is unchanged. Loading gives float32 whatever the type in the file.

    Raises:
        TypeError: If a class name is no string.
        ValueError: If it is no timm model, or the class names are not one for each output, each once.
    """
    if not hasattr(model, "pretrained_cfg"):
        raise ValueError(
            f"model must be a timm model, got {type(model).__name__}; write a transformers model with its own "
            "save_pretrained(folder), and load it with transformers"
        )
    names = _checked_names(classes, model)
    normalization = normalization or Normalization.of(model)
    model = _converted(model, dtype)
    # The tag would name other weights; images are resized and not cropped.
    config: dict[str, Any] = {"pretrained_cfg": {"tag": ""}} | ({"label_names": names} if names else {})
    save_for_hf(
        model,
        os.fspath(folder),
        model_config=config,
        data_config={"mean": normalization.mean, "std": normalization.std, "crop_pct": 1.0},
        safe_serialization=True,
    )


def load_model(source: str | os.PathLike[str], *, num_classes: int | None = None) -> Any:
    """Load a built-in model, a timm folder, or a hub id, in float32; nothing is unpickled from a folder.

    Args:
        source: A name in `BUILT_IN`, the path of a folder, or ``owner/name`` on the Hugging Face hub.
        num_classes: Number of classes of a new classifier; default: keep the model's own.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the folder holds no timm model, or the weights do not fit the configuration.
    """
    folder = model_folder(source)
    options = {} if num_classes is None else {"num_classes": num_classes}
    if not folder.exists():
        check_model_name(source)
        return _from_hub(str(source), options)
    check_files(folder)
    if (mode := transfer_mode(source)) is not None:
        raise ValueError(
            f"{folder} holds a student of mode={mode!r}, which needs its teacher, and not a timm model; load it with "
            "load_classifier and its teacher"
        )
    try:
        check_sizes(configuration(folder), folder / "config.json")
        with limit_network(folder), warnings.catch_warnings():
            # A configuration with a size of zero, which the weights do not fit.
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            return timm.create_model(f"local-dir:{folder}", pretrained=True, **options)
    # Damaged or mismatched files make timm raise all kinds of exceptions.
    except Exception as error:
        raise ValueError(
            f"{folder} holds no model that timm can load ({error}); write it again with save_model"
        ) from error


def save_classifier(
    model: Classifier | AttentionTransfer,
    folder: str | os.PathLike[str],
    *,
    classes: Sequence[str] = (),
    dtype: torch.dtype | None = None,
) -> None:
    """Write a trained model: as a timm model, or, if it copies from its teacher, without what it copies.

    Args:
        model: A trained timm model.
        folder: Where to write; created if it is missing.
        classes: Class names, in the order of the logits, one for each, each once.
        dtype: Floating-point type of the weights in the file; default: the model's own. `load_classifier` gives float32
            whatever it is; call ``.half()`` or ``.to(torch.bfloat16)`` on what it returns.

    Raises:
        TypeError: If a class name is no string.
        ValueError: If it is no timm model and does not copy, or the class names are not one for each output, each once.
    """
    if isinstance(model, AttentionTransfer) and model.needs_teacher:
        config: Any = model._hub_mixin_config
        kept = {"label_names": _checked_names(classes, model.student), "teacher_sha256": weights_digest(model.teacher)}
        _converted(model, dtype).save_pretrained(os.fspath(folder), config={**config, **kept})
        return
    student = model.export() if isinstance(model, AttentionTransfer) else model.student
    save_model(student, folder, normalization=model.student_normalization, classes=classes, dtype=dtype)


def load_classifier(
    source: str | os.PathLike[str], *, teacher: nn.Module | None = None, student: nn.Module | None = None
) -> Classifier | AttentionTransfer:
    """Load a classifier written by `save_classifier`, or any timm classifier, in float32; it takes images in 0..1.

    Args:
        source: As in `load_model`.
        teacher: The teacher of a student that copies attention.
        student: A model with the architecture of that student, if it is not the teacher's: its weights are overwritten.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no model with a classifier, or the teacher or student is missing or does not fit.
    """
    if transfer_mode(source) is not None:
        return _load_transfer(model_folder(source), teacher, student)
    model = load_model(source)
    if not getattr(model, "num_classes", 0):
        raise ValueError(f"{os.fspath(source)} has no classifier, like a teacher; train one first")
    try:
        return Classifier(model).eval()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(source)} has a config.json that does not fit its model ({error})") from error


def _load_transfer(folder: Path, teacher: nn.Module | None, student: nn.Module | None) -> AttentionTransfer:
    if teacher is None:
        raise ValueError(
            f"the student in {folder} copies its attention and needs its teacher; pass teacher="
            if str(transfer_mode(folder)).startswith("copy")
            else f"{folder} was written with save_pretrained and needs its teacher; pass teacher=, or write the "
            "student alone with save_classifier"
        )
    check_files(folder)
    try:
        check_sizes(configuration(folder), folder / "config.json")
        given: dict[str, Any] = {} if student is None else {"student": student}
        # The hub mixin prints what it does.
        with redirect_stdout(io.StringIO()), limit_network(folder):
            transfer = AttentionTransfer.from_pretrained(folder, teacher=teacher, **given).eval()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"the student in {folder} does not fit ({' '.join(str(error).split())}); pass the teacher that it was "
            "trained with and, if it has another architecture than its teacher, a model of that as student="
        ) from error
    if configuration(folder).get("teacher_sha256", actual := weights_digest(teacher)) != actual:
        raise ValueError(
            f"the student in {folder} copied from a teacher with other weights; pass the teacher that it was trained "
            "with"
        )
    loaded: Any = transfer.student
    if isinstance(known := getattr(loaded, "pretrained_cfg", None), dict):
        # The teacher's class names do not belong to the student.
        loaded.pretrained_cfg = {**known, "label_names": tuple(configuration(folder).get("label_names") or ())}
    return transfer


def _from_hub(source: str, options: dict[str, int]) -> Any:
    try:
        return timm.create_model(f"hf-hub:{source}", pretrained=True, **options)
    except (OSError, HFValidationError) as error:
        raise FileNotFoundError(f"{no_model(source)}, {_unavailable(source, error)}") from error
    except Exception as error:
        raise ValueError(f"{source} on the hub is not a model that timm can load ({error})") from error


def _unavailable(source: str, error: Exception) -> str:
    """The reason why a model is not to be had from the hub, and what to do."""
    if not isinstance(error, LocalEntryNotFoundError):
        return f"nor on the hub ({str(error).strip().splitlines()[0]}); check its name"
    remedy = f"hf download {source} --local-dir FOLDER where there is a network, and pass that folder"
    if constants.HF_HUB_OFFLINE:
        return f"nor in the hub's cache, and HF_HUB_OFFLINE keeps it offline; unset that, or run {remedy}"
    return f"nor in the hub's cache, and the hub cannot be reached; check the network, or run {remedy}"


def _converted(model: ModuleT, dtype: torch.dtype | None) -> ModuleT:
    """A copy of a model with its floating-point weights in another type; the model itself if there is nothing to do."""
    return model if dtype is None else copy.deepcopy(model).to(dtype)


def _checked_names(classes: Sequence[str], model: Any) -> list[str]:
    """Class names as Python's strings; empty for none."""
    if isinstance(classes, str):
        raise ValueError(f"classes must be a sequence of names, got the single string {classes!r}")
    names = list(classes)
    if invalid := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"classes must be strings, got {invalid[0]!r} of type {type(invalid[0]).__name__}")
    count = getattr(model, "num_classes", getattr(model, "num_labels", None))
    if names and count is not None and len(names) != count:
        raise ValueError(f"classes must name each of the model's {count} outputs, got {len(names)} names")
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"classes must be unique, got {', '.join(map(repr, repeated[:5]))} more than once")
    # Names from a NumPy array are strings of its own.
    return [str(name) for name in names]


def class_names(model: nn.Module) -> tuple[str, ...]:
    """Class names of a model as stored by `save_model`; empty if there are none."""
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    names = config.get("label_names") or ()
    # timm's own files may have a mapping from numbers, or names of a head that was replaced since.
    names = tuple(names[key] for key in sorted(names, key=int)) if isinstance(names, dict) else tuple(names)
    return names if len(names) == getattr(model, "num_classes", len(names)) else ()
