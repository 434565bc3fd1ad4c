"""A randomly initialized student of the teacher's own architecture.

Students that lack parts of their teacher, such as LayerScale or register tokens, can fall below training from scratch;
with the same parts, randomly initialized, they gain (Attention Transfer Is Not Universally Effective, arXiv
2605.07191). So the student is made from the teacher itself rather than from a plain ViT.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import torch
from timm.layers import DropPath
from torch import nn

from vl_attention.models.calling import is_of_transformers
from vl_attention.models.dropout import forget_dropout
from vl_attention.models.layout import ViTLayout

_TEXT_AND_VISION = {"clip_vision_model": "clip", "siglip_vision_model": "siglip", "siglip2_vision_model": "siglip2"}


class ArchitectureMismatchWarning(UserWarning):
    """The student lacks parts that its teacher has."""


def random_student(
    teacher: nn.Module, num_classes: int | None = None, *, drop_path: float = 0.0, seed: int | None = None
) -> nn.Module:
    """A model like the teacher with weights drawn anew: LayerScale, registers, biases and all.

    Args:
        teacher: A ViT of timm or transformers. It is not changed.
        num_classes: Outputs of the student's head; default: as many as the teacher's.
        drop_path: Rate of stochastic depth in the last block, rising linearly from zero (timm's models only). Dropout
            and stochastic depth of the teacher's own training are not taken over.
        seed: Of the weights; default: PyTorch's generator as it stands.

    Returns:
        The student, on the teacher's device, in training mode, every parameter trainable.

    Raises:
        ValueError: If the head has no outputs, or the model cannot be drawn anew.
    """
    ViTLayout.of(teacher)  # or an error that says what it lacks
    _check_class_count(teacher, num_classes)
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        if is_of_transformers(teacher):
            student = _from_config(teacher, num_classes)
        else:
            student = _drawn_anew(teacher, num_classes)
    forget_dropout(student)
    if drop_path:
        set_drop_path(student, drop_path)
    first = next(teacher.parameters())
    return student.to(first.device, first.dtype).train().requires_grad_(True)


def classifiers(model: Any) -> list[nn.Linear]:
    """A timm model's linear classifiers: one, or the two of a distilled DeiT."""
    found = model.get_classifier()
    return [head for head in (found if isinstance(found, tuple) else (found,)) if isinstance(head, nn.Linear)]


def check_components(student: nn.Module, teacher: nn.Module) -> None:
    """Warn where the student lacks parts of the teacher, and say which."""
    has, wanted = ViTLayout.of(student), ViTLayout.of(teacher)
    missing = sorted(wanted.components - has.components)
    if missing:
        warnings.warn(
            f"the student lacks what its teacher has: {', '.join(missing)}. Students without their teacher's parts "
            "were seen to fall below training from scratch (arXiv 2605.07191), however the loss is chosen; add these "
            "parts, randomly initialized, or leave student=None, which builds the student from the teacher's "
            "architecture",
            ArchitectureMismatchWarning,
            stacklevel=4,
        )


def set_drop_path(model: nn.Module, rate: float) -> None:
    """Give the blocks of a timm model stochastic depth, from 0 in the first to ``rate`` in the last."""
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path must be at least 0 and below 1, got {rate}")
    blocks = [model.get_submodule(name) for name in ViTLayout.of(model).blocks]
    places = [[name for name in ("drop_path1", "drop_path2", "drop_path") if hasattr(block, name)] for block in blocks]
    if not all(places):
        raise ValueError(f"blocks of {type(model).__name__} have no place for stochastic depth; leave drop_path at 0")
    for index, (block, names) in enumerate(zip(blocks, places, strict=True)):
        own = rate * index / max(1, len(blocks) - 1)
        for name in names:
            setattr(block, name, DropPath(own) if own else nn.Identity())


def _check_class_count(teacher: Any, num_classes: int | None) -> None:
    """Raise unless it is said, by number or by the teacher's classifier, how many classes there are."""
    if num_classes is None:
        if not getattr(teacher, "num_classes", hasattr(teacher, "classifier")):
            raise ValueError(
                "num_classes must say how many classes the student tells apart, since the teacher has no classifier"
            )
    elif isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(
            f"num_classes must say how many classes the student tells apart, 1 or more, got {num_classes!r}"
        )


def _drawn_anew(teacher: Any, num_classes: int | None) -> nn.Module:
    """A copy of a timm model, initialized as timm does."""
    if not hasattr(teacher, "init_weights") or not hasattr(teacher, "reset_classifier"):
        raise ValueError(
            "a random student can be made of models with timm's init_weights() and reset_classifier(), and of "
            f"transformers' models, not of {type(teacher).__name__}; build one yourself and pass it as student="
        )
    student: Any = copy.deepcopy(teacher)
    _forget_hooks(student)
    # What the model's own initialization leaves out would stay the teacher's; so nothing of the teacher's is left.
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.fill_(torch.nan)
    student.init_weights(**_reset_option(student))
    student.reset_classifier(num_classes or teacher.num_classes)
    if isinstance(known := getattr(student, "pretrained_cfg", None), dict):
        # The new head's classes are not those that the teacher names.
        student.pretrained_cfg = {key: value for key, value in known.items() if not key.startswith("label_")}
    for head in classifiers(student):
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    _draw_the_rest(student)
    for name, parameter in student.named_parameters():
        if parameter.isnan().any():
            raise ValueError(
                f"{type(teacher).__name__}.init_weights() does not draw {name}; build a random student yourself and "
                "pass it as student="
            )
    return student  # type: ignore[no-any-return]


def _forget_hooks(model: nn.Module) -> None:
    """Leave behind what watches the original, ours and the caller's."""
    for module in model.modules():
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            getattr(module, name).clear()


def _draw_the_rest(model: nn.Module) -> None:
    """Initialise by their own methods the parts that the model's initialization passes over, such as pooling."""
    for part in model.modules():
        if any(parameter.isnan().any() for parameter in part.parameters(recurse=False)):
            method: Any = getattr(part, "reset_parameters", None) or getattr(part, "init_weights", None)
            if part is not model and method is not None:
                method()


def _reset_option(model: Any) -> dict[str, bool]:
    """What makes timm's initialization reset norms and LayerScale too, where a model's method has that option."""
    return {"needs_reset": True} if "needs_reset" in inspect.signature(model.init_weights).parameters else {}


def _from_config(teacher: Any, num_classes: int | None) -> nn.Module:
    """A new classifier of transformers from the teacher's configuration."""
    from transformers import CONFIG_MAPPING, AutoModelForImageClassification

    config: Any = copy.deepcopy(teacher.config)
    config.architectures = [type(teacher).__name__]  # of DeiT's two classifiers, the teacher's own
    if num_classes is not None:
        config.num_labels = num_classes
    if (both := _TEXT_AND_VISION.get(config.model_type)) is not None:
        both_config: Any = CONFIG_MAPPING[both]
        config = both_config(text_config={}, vision_config=config.to_dict(), num_labels=config.num_labels)
    try:
        return AutoModelForImageClassification.from_config(config)  # type: ignore[no-untyped-call, no-any-return]
    except ValueError as error:
        raise ValueError(
            f"transformers has no classifier of the kind {config.model_type!r}; build a random student yourself and "
            "pass it as student=, or take the model from timm"
        ) from error
