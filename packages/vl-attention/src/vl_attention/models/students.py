"""A randomly initialized student with the teacher's architecture.

Students that lack parts of their teacher, such as LayerScale or register tokens, can fall below training from scratch;
with the same parts, randomly initialized, they gain (Attention Transfer Is Not Universally Effective, arXiv
2605.07191). So the student is built from the teacher itself rather than from a plain ViT.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import torch
from timm.layers import DropPath
from torch import nn

from vl_attention.models.dropout import disable_dropout
from vl_attention.models.inference import is_transformers_model
from vl_attention.models.layout import ViTLayout
from vl_attention.models.whole_numbers import whole_number

_TEXT_AND_VISION = {
    "clip_vision_model": "clip",
    "metaclip_2_vision_model": "metaclip_2",
    "siglip_vision_model": "siglip",
}
"""Types of vision models of transformers, and those of the models that have a classifier on them."""


class ArchitectureMismatchWarning(UserWarning):
    """The student lacks architectural components of its teacher."""


def random_student(
    teacher: nn.Module, num_classes: int | None = None, *, drop_path: float = 0.0, seed: int | None = None
) -> nn.Module:
    """Build a model with the teacher's architecture and random weights, LayerScale, registers and biases included.

    Args:
        teacher: A timm or transformers ViT. It is not changed.
        num_classes: Number of outputs of the student's head; default: the teacher's.
        drop_path: Rate of stochastic depth in the last block, rising linearly from zero (timm models only). Dropout and
            stochastic depth from the teacher's own training are not copied.
        seed: Seed of the weights; default: the current state of PyTorch's generator.

    Returns:
        The student, on the teacher's device, in training mode, with all parameters trainable. It is in the teacher's
        floating-point type or, for a teacher in half precision, in float32: an optimizer's small steps are lost in
        half precision.

    Raises:
        ValueError: If the head has no outputs, or the model cannot be reinitialized.
    """
    ViTLayout.of(teacher)  # raises if it is not a supported ViT
    _check_num_classes(teacher, num_classes)
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        num_classes = whole_number(num_classes)
        if is_transformers_model(teacher):
            student = _from_config(teacher, num_classes)
        else:
            student = _reinitialized_copy(teacher, num_classes)
    disable_dropout(student)
    if drop_path:
        set_drop_path(student, drop_path)
    return student.to(next(teacher.parameters()).device, _trained_dtype(teacher)).train().requires_grad_(True)


def _trained_dtype(teacher: nn.Module) -> torch.dtype:
    """The teacher's floating-point type, or float32 for half precision."""
    dtype = next(teacher.parameters()).dtype
    return torch.float32 if dtype.itemsize < 4 else dtype


def classifiers(model: Any) -> list[nn.Linear]:
    """A timm model's linear classifiers: one, or the two of a distilled DeiT."""
    found = model.get_classifier()
    return [head for head in (found if isinstance(found, tuple) else (found,)) if isinstance(head, nn.Linear)]


def check_components(student: nn.Module, teacher: nn.Module) -> None:
    """Warn if the student lacks components of the teacher, and name them."""
    has, wanted = ViTLayout.of(student), ViTLayout.of(teacher)
    missing = sorted(wanted.components - has.components)
    if missing:
        warnings.warn(
            f"the student lacks components of its teacher: {', '.join(missing)}. Students without their teacher's "
            "components were found to be worse than training from scratch (arXiv 2605.07191), whatever the loss; add "
            "these components, randomly initialized, or leave student=None, which builds the student from the "
            "teacher's architecture",
            ArchitectureMismatchWarning,
            stacklevel=4,
        )


def set_drop_path(model: nn.Module, rate: float) -> None:
    """Set the stochastic depth of a timm model's blocks, from 0 in the first to ``rate`` in the last."""
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path must be at least 0 and below 1, got {rate}")
    blocks = [model.get_submodule(name) for name in ViTLayout.of(model).blocks]
    attributes = [
        [name for name in ("drop_path1", "drop_path2", "drop_path") if hasattr(block, name)] for block in blocks
    ]
    if not all(attributes):
        raise ValueError(f"blocks of {type(model).__name__} do not support stochastic depth; leave drop_path at 0")
    for index, (block, names) in enumerate(zip(blocks, attributes, strict=True)):
        block_rate = rate * index / max(1, len(blocks) - 1)
        for name in names:
            setattr(block, name, DropPath(block_rate) if block_rate else nn.Identity())


def _check_num_classes(teacher: Any, num_classes: int | None) -> None:
    """Raise unless the number of classes is known, from the argument or from the teacher's classifier."""
    if num_classes is None:
        if not getattr(teacher, "num_classes", hasattr(teacher, "classifier")):
            raise ValueError(
                "num_classes must be the student's number of classes, since the teacher has no classifier, got None"
            )
    elif (whole_number(num_classes) or 0) < 1:
        raise ValueError(f"num_classes must be the student's number of classes, 1 or more, got {num_classes!r}")


def _reinitialized_copy(teacher: Any, num_classes: int | None) -> nn.Module:
    """A copy of a timm model, reinitialized with timm's own methods."""
    if not hasattr(teacher, "init_weights") or not hasattr(teacher, "reset_classifier"):
        raise ValueError(
            "a random student can be built from timm models with init_weights() and reset_classifier(), and from "
            f"transformers models, not from {type(teacher).__name__}; build one yourself and pass it as student="
        )
    # Weights that are initialized in half precision would be rounded.
    student: Any = copy.deepcopy(teacher).to(_trained_dtype(teacher))
    _clear_hooks(student)
    # Overwrite everything, so that no weight of the teacher survives where the model's own initialization skips it.
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.fill_(torch.nan)
    student.init_weights(**_reset_option(student))
    student.reset_classifier(num_classes or teacher.num_classes)
    if isinstance(known := getattr(student, "pretrained_cfg", None), dict):
        # The teacher's class names do not belong to the new head.
        student.pretrained_cfg = {key: value for key, value in known.items() if not key.startswith("label_")}
    for head in classifiers(student):
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    _initialize_remaining(student)
    for name, parameter in student.named_parameters():
        if parameter.isnan().any():
            raise ValueError(
                f"{type(teacher).__name__}.init_weights() does not initialize {name}; build a random student yourself "
                "and pass it as student="
            )
    return student  # type: ignore[no-any-return]


def _clear_hooks(model: nn.Module) -> None:
    """Remove all hooks, ours and the caller's."""
    for module in model.modules():
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            getattr(module, name).clear()


def _initialize_remaining(model: nn.Module) -> None:
    """Initialize modules that the model's own initialization skips, such as pooling, with their own methods."""
    for part in model.modules():
        if any(parameter.isnan().any() for parameter in part.parameters(recurse=False)):
            method: Any = getattr(part, "reset_parameters", None) or getattr(part, "init_weights", None)
            if part is not model and method is not None:
                method()


def _reset_option(model: Any) -> dict[str, bool]:
    """The option that makes timm's initialization reset norms and LayerScale too, if the model has it."""
    return {"needs_reset": True} if "needs_reset" in inspect.signature(model.init_weights).parameters else {}


def _from_config(teacher: Any, num_classes: int | None) -> nn.Module:
    """A new transformers classifier with the teacher's configuration."""
    from transformers import CONFIG_MAPPING, AutoModelForImageClassification

    config: Any = copy.deepcopy(teacher.config)
    config.architectures = [type(teacher).__name__]  # DeiT has two classifier classes: keep the teacher's
    if getattr(config, "dtype", None) is not None:
        config.dtype = _trained_dtype(teacher)
    if num_classes is not None:
        config.num_labels = num_classes
    if (both := _TEXT_AND_VISION.get(config.model_type)) is not None:
        both_config: Any = CONFIG_MAPPING[both]
        config = both_config(text_config={}, vision_config=config.to_dict(), num_labels=config.num_labels)
    try:
        return AutoModelForImageClassification.from_config(config)  # type: ignore[no-untyped-call, no-any-return]
    except ValueError as error:
        raise ValueError(
            f"transformers has no classifier for model type {config.model_type!r}; build a random student yourself and "
            "pass it as student=, or use the same model from timm, if there is one"
        ) from error
