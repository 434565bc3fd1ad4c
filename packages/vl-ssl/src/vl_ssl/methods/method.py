"""Base of the siamese methods: a backbone, two views in, a loss out; steppable from any loop.

    output = method(view_1, view_2)
    output.loss.backward()
    optimizer.step()
    method.after_update(update, updates)

Each view is a forward pass of its own, so batch statistics are those of one view, as in SimSiam and BYOL. On several
ranks the loss is this rank's; its mean over the ranks is the loss of the whole batch, and with `synchronize_batch_norm`
the gradients that DistributedDataParallel averages are those of one process with the whole batch. Ranks must have
batches of the same size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_ssl.backbones.backbone import export_backbone
from vl_ssl.methods.batch_norm import plain_batch_norm


class SiameseOutput(NamedTuple):
    """Loss of a batch, and what meters read."""

    loss: Tensor
    """Scalar, float32 or float64."""
    features: tuple[Tensor, Tensor]
    """Detached backbone features of both views, ``(B, d)`` each."""
    projections: tuple[Tensor, Tensor]
    """Detached projections of both views by the trained branch, ``(B, k)`` each."""


class SiameseMethod(nn.Module, ABC):
    """Base of the methods: checks of views and features, groups of parameters, and the export of the backbone.

    A method adds its heads in ``__init__`` and defines ``forward``.

    Args:
        backbone: From images ``(B, C, H, W)`` to features ``(B, d)``.
        num_features: ``d``; None asks the backbone, which timm's models know.

    Raises:
        ValueError: If ``num_features`` is None and the backbone does not know it, or it is below 1.
    """

    backbone: nn.Module
    _excludes_vectors: ClassVar[bool] = False
    """True spares biases and scales of normalization weight decay and the adaptation of LARS."""
    _constant_rate: ClassVar[str | None] = None
    """Name of the child whose learning rate does not fall."""

    def __init__(self, backbone: nn.Module, *, num_features: int | None = None):
        super().__init__()
        self.backbone = backbone
        self.num_features = _num_features(backbone) if num_features is None else num_features
        if self.num_features < 1:
            raise ValueError(f"num_features must be at least 1, got {self.num_features}; count the backbone's outputs")

    @abstractmethod
    def forward(self, view_1: Tensor, view_2: Tensor) -> SiameseOutput:
        """Loss of two views of the same images.

        Args:
            view_1: One view of each image, floating point ``(B, C, H, W)``, at least two images.
            view_2: The other view of the same images, of the same shape.

        Raises:
            TypeError: If the views are not floating point.
            ValueError: If their shapes differ or have no such form, or the backbone does not return ``(B, d)``.
        """

    def after_update(self, update: int, updates: int) -> None:
        """Do what follows a step of the optimizer; nothing, unless a method says otherwise.

        Call it once a step, not once a pass of gradient accumulation.

        Args:
            update: Number of the step just done, from 0.
            updates: Steps of the whole run.

        Raises:
            ValueError: If ``update`` is not from 0 to ``updates - 1``.
        """
        if not 0 <= update < updates:
            raise ValueError(f"update must be from 0 to updates - 1 = {updates - 1}, got {update}; count steps from 0")

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameters that require a gradient, in groups for an optimizer, each parameter once.

        Args:
            weight_decay: Of the parameters that the method's recipe decays.

        Returns:
            Groups with ``"params"`` and ``"weight_decay"``; with ``"constant_rate": True`` where the learning rate
            stays at its peak, and ``"lars_excluded": True`` for the biases and normalization parameters that the
            recipe spares both weight decay and the adaptation of LARS.

        Example:
            >>> method = SimSiam(nn.Linear(4, 8), num_features=8)
            >>> [sorted(group) for group in method.parameter_groups(1e-4)]
            [['params', 'weight_decay'], ['constant_rate', 'params', 'weight_decay']]
        """
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                constant = self._constant_rate is not None and name.split(".")[0] == self._constant_rate
                groups.setdefault((constant, self._excludes_vectors and parameter.ndim <= 1), []).append(parameter)
        found: list[dict[str, Any]] = []
        for (constant, excluded), parameters in groups.items():
            group: dict[str, Any] = {"params": parameters, "weight_decay": 0.0 if excluded else weight_decay}
            if constant:
                group["constant_rate"] = True
            if excluded:
                group["lars_excluded"] = True
            found.append(group)
        return found

    def export(self) -> nn.Module:
        """Copy of the backbone alone: on the CPU, in evaluation mode, all weights trainable, batch norms plain.

        Hooks on outputs and gradients are left out, and synchronized batch norms are plain again, see
        `vl_ssl.methods.batch_norm.plain_batch_norm`.

        Its state dict loads strictly into the model that the backbone was made from; a `Backbone` gives the network in
        it, see `export_backbone`.

        Example:
            >>> SimSiam(nn.Linear(4, 8), num_features=8).export()
            Linear(in_features=4, out_features=8, bias=True)
        """
        # A compiled backbone keeps the module that it compiles.
        return plain_batch_norm(export_backbone(getattr(self.backbone, "_orig_mod", self.backbone)))

    def encode(self, view_1: Tensor, view_2: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both views by the trained backbone, after checks of the views; two passes.

        Raises:
            TypeError: If the views are not floating point.
            ValueError: As `forward`.
        """
        _check_views(view_1, view_2)
        features = self.backbone(view_1), self.backbone(view_2)
        for found in features:
            if not isinstance(found, Tensor) or found.shape != (len(view_1), self.num_features):
                got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
                raise ValueError(
                    f"backbone must return features ({len(view_1)}, {self.num_features}), got {got}; build it with "
                    "pooling and without a classifier (timm: num_classes=0), or name its num_features"
                )
        return features


def siamese_output(loss: Tensor, features: tuple[Tensor, Tensor], projections: tuple[Tensor, Tensor]) -> SiameseOutput:
    """Output with the tensors that meters read detached."""
    (h1, h2), (z1, z2) = features, projections
    return SiameseOutput(loss, (h1.detach(), h2.detach()), (z1.detach(), z2.detach()))


def full_precision(values: Tensor) -> torch.autocast:
    """Context without autocast on the tensor's device, for losses."""
    return torch.autocast(values.device.type, enabled=False)


def wide(values: Tensor) -> Tensor:
    """Values as float32; float64 stays."""
    return values if values.dtype == torch.float64 else values.float()


def check_temperature(temperature: float) -> None:
    """Raise if a temperature is not above 0, or not finite.

    Raises:
        ValueError: If it is 0 or below, or not finite.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be above 0 and finite, got {temperature:g}; 0.1 to 1 is usual")


def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean over a batch of minus the cosine similarity of each pair of rows.

    Args:
        predictions: ``(B, k)``.
        targets: ``(B, k)``; the caller detaches them where no gradient should flow.

    Returns:
        Scalar from -1 to 1; float64 for float64, float32 otherwise.

    Example:
        >>> negative_cosine(torch.eye(2), torch.ones(2, 2)).item()
        -0.7071067690849304
    """
    with full_precision(predictions):
        return -F.cosine_similarity(wide(predictions), wide(targets), dim=1).mean()


def _num_features(backbone: nn.Module) -> int:
    inner = getattr(backbone, "_orig_mod", backbone)
    # Some models of timm have a layer between the pooled features and the classifier, and count its outputs apart.
    for name in ("head_hidden_size", "num_features"):
        found = getattr(inner, name, None)
        if isinstance(found, int):
            return found
    raise ValueError(
        f"num_features must be given for a backbone that does not know it, got None for {type(inner).__name__}; name "
        "the width of its output"
    )


def _check_views(view_1: Tensor, view_2: Tensor) -> None:
    for name, view in (("view_1", view_1), ("view_2", view_2)):
        if not view.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {view.dtype}; divide bytes by 255")
        if view.ndim != 4 or not view.numel():
            raise ValueError(f"{name} must have shape (B, C, H, W), got {tuple(view.shape)}; add what is missing")
    if view_1.shape != view_2.shape:
        raise ValueError(
            f"view_2 must have the shape of view_1, {tuple(view_1.shape)}, got {tuple(view_2.shape)}; make both views "
            "of the same images at one size"
        )
    if len(view_1) < 2:
        raise ValueError("view_1 must hold at least two images, got 1; batch statistics need more, drop the last batch")
