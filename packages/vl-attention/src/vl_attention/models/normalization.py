"""Normalization of images in 0..1 before they enter a model."""

from __future__ import annotations

from typing import Self

from torch import nn
from vl_core import data

from vl_attention.models.layout import inner_vit


class Normalization(data.Normalization):
    """Mean and standard deviation per channel, given or read from a model.

    Example:
        >>> Normalization.none().std
        (1.0, 1.0, 1.0)
    """

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """The normalization of a model as in `vl_core.data.Normalization.of`, also inside a module that wraps one."""
        return super().of(inner_vit(model))
