"""Build the model that a method trains; apart from `methods`, whose names and settings need no torch."""

from __future__ import annotations

from typing import Any

from torch import nn

from vl_attention.attention.inputs import copy_without_hooks
from vl_attention.classifiers.classifier import Classifier
from vl_attention.comparison.methods import Method
from vl_attention.models.dropout import disable_dropout
from vl_attention.models.normalization import Normalization
from vl_attention.models.students import classifiers, random_student, set_drop_path
from vl_attention.transfer.attention_transfer import AttentionTransfer, Mode


def build_method(
    method: Method, teacher: nn.Module, num_classes: int, seed: int, normalization: Normalization | None = None
) -> Any:
    """Build the model to train; see `Method.build`."""
    if method.name == "scratch":
        student = random_student(teacher, num_classes, drop_path=method.drop_path, seed=seed)
        return Classifier(student, normalization)
    if method.name == "fine-tune":
        tuned = _with_new_head(teacher, num_classes, seed)
        disable_dropout(tuned)
        if method.drop_path:
            set_drop_path(tuned, method.drop_path)
        return Classifier(tuned, normalization)
    mode: Mode = method.name  # type: ignore[assignment]
    return AttentionTransfer(
        teacher,
        mode=mode,
        layers=method.layers,
        num_classes=num_classes,
        drop_path=method.drop_path,
        seed=seed,
        teacher_normalization=normalization,
    )


def _with_new_head(teacher: nn.Module, num_classes: int, seed: int) -> nn.Module:
    """A copy of a timm model with a new classifier, initialized as in `random_student`."""
    model: Any = copy_without_hooks(teacher)
    model.reset_classifier(num_classes)
    student: Any = random_student(teacher, num_classes, seed=seed)
    for head, new in zip(classifiers(model), classifiers(student), strict=True):
        head.load_state_dict(new.state_dict())
    return model.train().requires_grad_(True)  # type: ignore[no-any-return]
