"""What a model is, as far as its weights and its loss do not say it: kept in a run's folder, and compared there."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from vl_attention.models.dropout import dropout_rates
from vl_attention.transfer.attention_transfer import AttentionTransfer


def identity(model: Any) -> dict[str, Any]:
    """What makes the training of a model another one, though the weights that are trained may look the same.

    Args:
        model: An `AttentionTransfer`, or another model with a ``student`` and its ``student_normalization``.

    Returns:
        ``kind``, ``normalization`` and the student's `dropout_rates`; of an `AttentionTransfer` its
        ``mode``, ``layers``, ``heads`` and ``relation_heads`` too, how images enter the teacher, and the `digest` of
        the teacher's weights. As JSON can keep it.
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
            "teacher_sha256": digest(model.teacher),
        }
    return found


def digest(model: nn.Module) -> str:
    """The first 16 digits of a SHA-256 over names, dtypes, shapes and bytes of a model's weights.

    Bytes are read where they are, so that a model in main memory is not copied: a gigabyte takes a second or a few.
    """
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()[:16]
