"""The losses as modules with a learnable scale and bias, for feature tensors of any model."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vl_vlm.losses.info_nce import info_nce
from vl_vlm.losses.inputs import Positives, computing_type
from vl_vlm.losses.sigmoid import sigmoid_loss
from vl_vlm.losses.targets import Direction, check_direction


class _ContrastiveLoss(nn.Module):
    """Base of both losses: a learnable scale, and the settings of the computation."""

    def __init__(self, scale: float, max_scale: float | None, tile: int, group: dist.ProcessGroup | None, check: bool):
        super().__init__()
        if not 0 < scale <= (max_scale or math.inf):
            limit = "" if max_scale is None else f" and at most max_scale={max_scale:g}"
            raise ValueError(f"scale must be above 0{limit}, got {scale:g}; it is an inverse temperature")
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.max_scale, self.tile, self.group, self.check = max_scale, tile, group, check

    @property
    def scale(self) -> Tensor:
        """The scale, above 0 and at most ``max_scale``."""
        if self.max_scale is not None:
            with torch.no_grad():
                self.log_scale.clamp_(max=math.log(self.max_scale))
        return self.log_scale.exp()

    def __deepcopy__(self, memo: dict[int, Any]) -> _ContrastiveLoss:
        """Copy all but the group, which cannot be copied and is meant to be shared."""
        memo[id(self.group)] = self.group
        memo[id(self)] = clone = self.__new__(type(self))
        clone.__dict__ = copy.deepcopy(self.__dict__, memo)
        return clone


class InfoNCELoss(_ContrastiveLoss):
    """InfoNCE loss with a learnable scale; features of any length are normalized inside.

    Radford et al. (2021, section 2.3): the scale begins at 1 / 0.07 and never exceeds 100. As in CLIP the parameter is
    cut back before it is used, rather than the value in the graph, so that it can become smaller again.

    Args:
        scale: Initial scale.
        max_scale: Largest scale; None for no limit.
        direction: ``"both"``, ``"image_to_text"`` or ``"text_to_image"``.
        tile: Rows and columns of a tile.
        group: Processes whose batches form one batch; see `info_nce`.
        check: False accepts features without reading them.

    Raises:
        ValueError: If ``scale`` is not above 0 or above ``max_scale``, or ``direction`` is none of the three.

    Example:
        >>> loss = InfoNCELoss()
        >>> round(loss(torch.eye(2), 5 * torch.ones(2, 2)).item(), 4)
        0.6931
    """

    def __init__(
        self,
        scale: float = 1 / 0.07,
        *,
        max_scale: float | None = 100.0,
        direction: Direction = "both",
        tile: int = 512,
        group: dist.ProcessGroup | None = None,
        check: bool = True,
    ):
        check_direction(direction)
        super().__init__(scale, max_scale, tile, group, check)
        self.direction: Direction = direction

    def forward(
        self,
        images: Tensor,
        texts: Tensor,
        *,
        positives: Positives | None = None,
        negatives: Tensor | None = None,
    ) -> Tensor:
        """Loss of features ``(B, D)`` and ``(M, D)``; arguments as in `info_nce`."""
        return info_nce(
            _unit(images),
            _unit(texts),
            self.scale,
            positives=positives,
            negatives=None if negatives is None else _unit(negatives),
            direction=self.direction,
            tile=self.tile,
            group=self.group,
            check=self.check,
        )


class SigmoidLoss(_ContrastiveLoss):
    """Sigmoid loss with a learnable scale and bias; features of any length are normalized inside.

    Zhai et al. (2023, section 3.2): the scale begins at 10 and the bias at -10, near the log-odds of a pair in a large
    batch being a positive.

    Args:
        scale: Initial scale.
        bias: Initial bias.
        max_scale: Largest scale; None for no limit, as in the paper.
        tile: Rows and columns of a tile.
        group: Processes whose batches form one batch; see `sigmoid_loss`.
        check: False accepts features without reading them.

    Raises:
        ValueError: If ``scale`` is not above 0 or above ``max_scale``.

    Example:
        >>> loss = SigmoidLoss()
        >>> round(loss(torch.eye(2), 5 * torch.eye(2)).item(), 4)
        0.6932
    """

    def __init__(
        self,
        scale: float = 10.0,
        bias: float = -10.0,
        *,
        max_scale: float | None = None,
        tile: int = 512,
        group: dist.ProcessGroup | None = None,
        check: bool = True,
    ):
        super().__init__(scale, max_scale, tile, group, check)
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(
        self,
        images: Tensor,
        texts: Tensor,
        *,
        positives: Positives | None = None,
        negatives: Tensor | None = None,
    ) -> Tensor:
        """Loss of features ``(B, D)`` and ``(M, D)``; arguments as in `sigmoid_loss`."""
        return sigmoid_loss(
            _unit(images),
            _unit(texts),
            self.scale,
            self.bias,
            positives=positives,
            negatives=None if negatives is None else _unit(negatives),
            tile=self.tile,
            group=self.group,
            check=self.check,
        )


class _Unit(torch.autograd.Function):
    """Rows of unit length; saves its result, which the loss saves as well, rather than what came in."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        values = features.to(computing_type(features))
        inverse = torch.linalg.vector_norm(values, dim=-1, keepdim=True).clamp_(min=1e-12).reciprocal_()
        unit: Tensor = values * inverse
        ctx.dtype = features.dtype
        ctx.save_for_backward(unit, inverse)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        unit, inverse = ctx.saved_tensors
        along = (unit * upstream).sum(dim=-1, keepdim=True)
        gradient: Tensor = (upstream - unit * along).mul_(inverse)
        dtype: torch.dtype = ctx.dtype
        return gradient.to(dtype)


def _unit(features: Tensor) -> Tensor:
    """Features of unit length, in float32 or float64; what is no feature tensor is left for the loss to refuse."""
    if not isinstance(features, Tensor) or not features.is_floating_point() or features.ndim != 2:
        return features
    unit: Tensor = _Unit.apply(features)
    return unit
