"""What is compared: ways to use a teacher for a task with few labels."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import nn

from vl_attention.classifier import Classifier
from vl_attention.normalization import Normalization
from vl_attention.pairing import Layers
from vl_attention.students import random_student
from vl_attention.taps import AttentionTaps
from vl_attention.training.settings import TrainSettings
from vl_attention.transfer import AttentionTransfer, Mode

ENSEMBLE = "ensemble"
"""Fine-tuned teacher and distilled student together: it trains nothing."""
ENSEMBLE_MEMBERS = ("fine-tune", "distill")


@dataclass(frozen=True)
class Method:
    """One way, and how it is trained."""

    name: str
    """``"scratch"``, ``"fine-tune"``, or a mode of `AttentionTransfer`."""
    settings: TrainSettings
    layers: Layers | None = None
    """Which layers are transferred, see `pair_layers`."""

    def build(self, teacher: nn.Module, classes: int, seed: int, normalization: Normalization) -> Any:
        """The model before training: it has the teacher's weights where it is fine-tuned, and random ones else."""
        if self.name == "scratch":
            return Classifier(random_student(teacher, classes, seed=seed), normalization)
        if self.name == "fine-tune":
            return Classifier(_with_new_head(teacher, classes, seed), normalization)
        mode: Mode = self.name  # type: ignore[assignment]
        return AttentionTransfer(
            teacher,
            mode=mode,
            layers=self.layers,
            num_classes=classes,
            seed=seed,
            teacher_normalization=normalization,
        )


def _with_new_head(teacher: nn.Module, classes: int, seed: int) -> nn.Module:
    """A copy of a timm model with a new classifier, drawn as `random_student` draws it."""
    with AttentionTaps.taken_off(teacher):
        model: Any = copy.deepcopy(teacher)
    model.reset_classifier(classes)
    drawn: Any = random_student(teacher, classes, seed=seed)
    model.get_classifier().load_state_dict(drawn.get_classifier().state_dict())
    return model.train().requires_grad_(True)  # type: ignore[no-any-return]
