"""Parameter groups: weight decay and layer-wise learning-rate decay."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from vl_attention.models.layout import ViTLayout
from vl_attention.training.settings import TrainSettings

# Tokens (including the queries of attention pooling in timm and transformers) and position embeddings.
_UNDECAYED = re.compile(r"pos_embed|position|_token|registers?$|rel_pos|bias|(^|\.)(latent|probe)$")
# Matched against the part of a name at the level of the blocks; parts above it, such as dinov2_with_registers, are not.
_BEFORE = re.compile(r"embed|_token$|register|norm_pre|pre_layr?norm|rel_pos|rope")


def adamw(trained: nn.Module, settings: TrainSettings, layer_decay: float) -> torch.optim.Optimizer:
    """AdamW over a model's `parameter_groups`."""
    groups = parameter_groups(trained, settings.weight_decay, layer_decay)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def parameter_groups(student: nn.Module, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Build parameter groups, each with an ``lr_scale`` by which `vl_core.training.fit` multiplies the learning rate.

    The head has the full learning rate, the last block ``layer_decay`` times that, the block below ``layer_decay``
    squared, and so on down to the parameters before the first block. Vectors (biases, norms, scales), tokens and
    position embeddings have no weight decay.

    Args:
        student: A model; its blocks are located only if ``layer_decay`` is below 1.
        weight_decay: Weight decay of all other parameters.
        layer_decay: Factor per block; 1 for the same learning rate everywhere.
    """
    blocks = ViTLayout.of(student).blocks if layer_decay < 1 else ()
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in student.named_parameters():
        if not parameter.requires_grad:
            continue
        above = len(blocks) + 1 - _depth(name, blocks)
        decays = parameter.ndim > 1 and not _UNDECAYED.search(name)
        scale = layer_decay**above
        group = groups.setdefault(
            (above, decays), {"params": [], "weight_decay": weight_decay if decays else 0.0, "lr_scale": scale}
        )
        group["params"].append(parameter)
    return list(groups.values())


def _depth(name: str, blocks: tuple[str, ...]) -> int:
    """Depth of a parameter: 0 before the first block, 1 to depth in the blocks, depth + 1 after them."""
    for index, block in enumerate(blocks):
        if name.startswith(f"{block}."):
            return index + 1
    parts, first = name.split("."), blocks[0].split(".") if blocks else []
    beside = next((part for part, other in zip(parts, first, strict=False) if part != other), parts[0])
    return 0 if _BEFORE.search(beside) else len(blocks) + 1
