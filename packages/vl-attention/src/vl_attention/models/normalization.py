"""Normalization of images in 0..1 before they enter a model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
_BY_MODEL_TYPE = {
    "vit": _HALF,
    "beit": _HALF,
    "clip_vision_model": _CLIP,
    "clip": _CLIP,
    "siglip_vision_model": _HALF,
    "siglip": _HALF,
    "dinov2": _IMAGENET,
    "dinov2_with_registers": _IMAGENET,
    "dinov3_vit": _IMAGENET,
}


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per channel.

    Example:
        >>> Normalization((0.5,), (0.5,))(torch.ones(1, 1, 2, 2)).unique().item()
        1.0
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise ValueError(f"mean and std must have one number a channel, std above 0; got {self.mean}, {self.std}")

    @classmethod
    def none(cls, channels: int = 3) -> Normalization:
        """The identity, for images that are already normalized."""
        return cls((0.0,) * channels, (1.0,) * channels)

    @classmethod
    def of(cls, model: nn.Module) -> Normalization:
        """The normalization that a timm or transformers model was trained with; ImageNet's where it is not known.

        A transformers model does not store it (its image processor does), so the published one of its model type is
        used.
        """
        channels = _channels(model)
        config = getattr(model, "pretrained_cfg", None)
        if config and config.get("mean"):
            mean, std = tuple(config["mean"]), tuple(config["std"])
        else:
            mean, std = _BY_MODEL_TYPE.get(getattr(getattr(model, "config", None), "model_type", ""), _IMAGENET)
        if len(mean) != channels:
            mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
        return cls(mean, std)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalize images ``(B, C, H, W)`` in 0..1."""
        if images.shape[1] != len(self.mean):
            raise ValueError(f"images must have {len(self.mean)} channels, got {images.shape[1]}")
        mean, std = (torch.tensor(v, dtype=images.dtype, device=images.device) for v in (self.mean, self.std))
        return (images - mean[:, None, None]) / std[:, None, None]


def _channels(model: nn.Module) -> int:
    """Number of image channels, from the first convolution."""
    return next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
