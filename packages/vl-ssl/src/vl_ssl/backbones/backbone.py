"""A network of timm with pooled features, behind the normalization of its inputs.

Methods, probes and meters hand over images in [0, 1]; the mean and deviation of each channel belong to the model and
travel with it. An exported network is plain: it takes normalized images, and says in its ``pretrained_cfg`` with which
mean and deviation, where `vl_core.data.Normalization.of` and ``timm.data.resolve_data_config`` find them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from vl_core.data import Normalization

# Those of whoever watches a training. Hooks before a forward pass are not among them: `weight_norm` is one.
_HOOKS = ("_forward_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class BackboneConfig:
    """Arguments of `build_backbone` that make a network again, without its weights."""

    name: str
    """Name of an architecture of timm, or ``"small_resnet"``."""
    channels: int = 3
    """Channels of the images."""
    image_size: int | None = None
    """Height and width of the images; never None where the network has to know."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the architecture."""


class Backbone(nn.Module):
    """Images in [0, 1] to pooled features: normalization, then a network of timm without its classifier.

    Args:
        network: From normalized images ``(B, C, H, W)`` to features ``(B, d)``.
        num_features: The number ``d``; `check_backbone` finds it.
        normalization: Mean and deviation of each channel.
        config: How the network was built, for `save_backbone`; None for a network from elsewhere.

    Example:
        >>> backbone = Backbone(nn.Flatten(), 4, Normalization((0.5,), (0.5,)))
        >>> backbone(torch.ones(1, 1, 2, 2))
        tensor([[1., 1., 1., 1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        num_features: int,
        normalization: Normalization,
        config: BackboneConfig | None = None,
    ):
        super().__init__()
        self.network = network
        self.num_features = num_features
        self.normalization = normalization
        self.config = config
        # Not persistent, so that the state dict holds the network's weights and nothing else.
        self.register_buffer("mean", torch.tensor(normalization.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(normalization.std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(B, d)`` of images ``(B, C, H, W)`` in [0, 1].

        Raises:
            ValueError: If the images have another number of channels, or a size that the network does not take.
        """
        if images.ndim != 4 or images.shape[1] != len(self.mean):
            raise ValueError(
                f"images must have shape (B, {len(self.mean)}, H, W), got {tuple(images.shape)}; "
                "build the backbone with their number of channels"
            )
        try:
            features: Tensor = self.network((images - self.mean) / self.std)
        # So timm's transformers say that they are built for another size.
        except AssertionError as error:
            raise ValueError(
                f"images must have the size that the backbone was built for, got {tuple(images.shape)}: {error}; "
                "resize them, or build it with their image_size"
            ) from error
        return features


def export_backbone(module: nn.Module) -> nn.Module:
    """A plain copy of a backbone's network: on the CPU, in evaluation mode, without anything of this package around it.

    Hooks on outputs and gradients are left out.

    The copy takes normalized images. Its ``pretrained_cfg`` (where timm keeps such facts) holds the mean and deviation,
    so that ``vl_core.data.Normalization.of(exported)(images)`` prepares images in [0, 1]. Its state dict loads strictly
    into ``timm.create_model(name, num_classes=0, in_chans=channels)``.

    Args:
        module: A `Backbone`, or any module, which is copied as it is.

    Example:
        >>> from vl_ssl.backbones.building import build_backbone
        >>> type(export_backbone(build_backbone("resnet10t", channels=1))).__name__
        'ResNet'
    """
    exported = copy.deepcopy(module.network if isinstance(module, Backbone) else module).cpu().eval()
    exported.requires_grad_(True)
    for part in exported.modules():
        for hooks in _HOOKS:
            getattr(part, hooks).clear()
    if isinstance(module, Backbone):
        known = getattr(exported, "pretrained_cfg", None) or {}
        facts = {**known, "mean": module.normalization.mean, "std": module.normalization.std}
        exported.pretrained_cfg = exported.default_cfg = facts  # type: ignore[assignment]
    return exported
