"""Optimizers by name over groups of parameters, as `vl_core.training.fit` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import nn

from vl_ssl.optimizers.lars import LARS

OptimizerName: TypeAlias = Literal["sgd", "lars", "adamw"]
"""Names of `build_optimizer`."""


def parameter_groups(module: nn.Module, weight_decay: float, *, exclude_vectors: bool = True) -> list[dict[str, Any]]:
    """Trainable parameters of a module in two groups: weights; biases and parameters of normalization layers.

    Args:
        module: Anything; a method of this package has groups of its own, ``method.parameter_groups(weight_decay)``.
        weight_decay: Of the weights.
        exclude_vectors: Whether biases and normalization parameters (those of one dimension at most) are spared weight
            decay and the adaptation of LARS. False gives one group, as SimSiam trains.

    Returns:
        Groups with ``"params"`` and ``"weight_decay"``, the second with ``"lars_excluded": True``; none is empty.

    Raises:
        ValueError: If the weight decay is negative, or nothing can be trained.

    Example:
        >>> [len(group["params"]) for group in parameter_groups(nn.Linear(2, 3), 1e-4)]
        [1, 1]
    """
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must be at least 0, got {weight_decay}")
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(f"module must have parameters that require a gradient, got none in {type(module).__name__}")
    if not exclude_vectors:
        return [{"params": parameters, "weight_decay": weight_decay}]
    weights = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0, "lars_excluded": True},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(
    name: OptimizerName,
    groups: Iterable[Mapping[str, Any]],
    *,
    learning_rate: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    trust_coefficient: float = 1e-3,
) -> torch.optim.Optimizer:
    """An optimizer over groups of parameters, which keep what else they say, such as ``"lr_scale"``.

    Args:
        name: ``"sgd"``, ``"lars"`` or ``"adamw"``.
        groups: Groups with ``"params"``, as of `parameter_groups` or of a method.
        learning_rate: Of all groups; `vl_core.training.fit` sets it before each step, times a group's ``"lr_scale"``.
        momentum: Of SGD and LARS.
        weight_decay: Of groups that name none. That of SGD and LARS is added to the gradient, that of AdamW decoupled.
        betas: Of AdamW.
        trust_coefficient: Of LARS.

    Raises:
        ValueError: If there is no such optimizer, or a number is out of range.

    Example:
        >>> groups = parameter_groups(nn.Linear(2, 3), 1e-4)
        >>> type(build_optimizer("lars", groups, learning_rate=0.1)).__name__
        'LARS'
    """
    if name not in get_args(OptimizerName):
        raise ValueError(f"optimizer must be one of {', '.join(get_args(OptimizerName))}, got {name!r}")
    copies = [dict(group) for group in groups]
    if name == "adamw":
        return torch.optim.AdamW(copies, lr=learning_rate, betas=betas, weight_decay=weight_decay)
    if name == "sgd":
        return torch.optim.SGD(copies, lr=learning_rate, momentum=momentum, weight_decay=weight_decay)
    return LARS(
        copies, learning_rate, momentum=momentum, weight_decay=weight_decay, trust_coefficient=trust_coefficient
    )
