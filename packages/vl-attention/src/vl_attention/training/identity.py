"""The properties of a model that define a training run, apart from its weights; stored in the run's folder."""

from __future__ import annotations

from typing import Any

from vl_core.training import weights_digest

from vl_attention.models.dropout import dropout_rates
from vl_attention.transfer.attention_transfer import AttentionTransfer


def model_identity(model: Any) -> dict[str, Any]:
    """Describe what makes two training runs different although their trained weights may look alike.

    Args:
        model: An `AttentionTransfer`, or another model with a ``student`` and its ``student_normalization``.

    Returns:
        JSON-compatible values: ``kind``, ``normalization`` and the student's `dropout_rates`; for an
        `AttentionTransfer` also its ``mode``, ``layers``, ``heads``, ``relation_heads``, the teacher's normalization
        and the `weights_digest` of the teacher.
    """
    found = {
        "kind": type(model).__name__,
        "normalization": model.student_normalization,
        "dropout": dropout_rates(model.student),
    }
    if isinstance(model, AttentionTransfer):
        config: Any = model._hub_mixin_config
        heads = config["heads"]
        found |= {
            "mode": model.mode,
            "layers": model.layers,
            "heads": heads if isinstance(heads, str) else list(heads),
            "relation_heads": model.relation_heads,
            "teacher_normalization": model.teacher_normalization,
            "teacher_sha256": weights_digest(model.teacher),
        }
        if model.teacher_drop_path:
            found["teacher_drop_path"] = True
    return found
