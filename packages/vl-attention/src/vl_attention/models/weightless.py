"""Copies of models without weights, for rehearsing a forward pass: shapes are computed, and nothing else.

Tensors of such a copy are on torch's meta device. A ViT-L is copied and run in a fraction of a second, in any amount of
memory.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn


def weightless_copy(model: nn.Module) -> nn.Module:
    """Copy a model with its tensors on the meta device and without hooks; the model itself is not touched.

    Raises:
        Exception: Whatever `copy.deepcopy` raises for parts that cannot be copied.
    """
    # `deepcopy` takes what stands in its memo for the copy of an object.
    memo: dict[int, Any] = {}
    for module in model.modules():
        for owned in (module._parameters, module._buffers, vars(module)):
            memo |= {id(value): _on_meta(value) for value in owned.values() if isinstance(value, Tensor)}
        memo |= {
            id(value): OrderedDict() for name, value in vars(module).items() if "_hooks" in name and value is not None
        }
    return copy.deepcopy(model, memo)


def _on_meta(tensor: Tensor) -> Tensor:
    """An equal tensor without values; a parameter stays one."""
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty
