"""Projectors and predictors: perceptrons with batch normalization between their layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(widths: Sequence[int], *, last_norm: bool = False, bias: bool = True) -> nn.Sequential:
    """Multilayer perceptron with batch normalization and ReLU after every layer but the last.

    Layers in front of a batch normalization have no bias, since it would be subtracted again.

    Args:
        widths: Features of the input, of each hidden layer, and of the output.
        last_norm: Whether the output is normalized over the batch too, without scale and shift.
        bias: Whether the last layer has a bias; it has none before a batch normalization.

    Returns:
        From ``(B, widths[0])`` to ``(B, widths[-1])``; initialized by PyTorch's defaults from its generator.

    Raises:
        ValueError: If there are fewer than two widths, or one is below 1.

    Example:
        >>> [type(layer).__name__ for layer in mlp([512, 2048, 128])]
        ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths must be at least two numbers from 1 up, got {list(widths)}; name input and output")
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
    layers.append(nn.Linear(widths[-2], widths[-1], bias=bias and not last_norm))
    if last_norm:
        layers.append(nn.BatchNorm1d(widths[-1], affine=False))
    return nn.Sequential(*layers)
