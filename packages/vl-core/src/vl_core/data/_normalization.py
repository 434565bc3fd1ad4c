"""Normalization of images with a mean and a standard deviation per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

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
    "metaclip_2_vision_model": _CLIP,
    "metaclip_2": _CLIP,
    "siglip_vision_model": _HALF,
    "siglip": _HALF,
    "dinov2": _IMAGENET,
    "dinov2_with_registers": _IMAGENET,
    "dinov3_vit": _IMAGENET,
}


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per channel.

    Args:
        mean: Subtracted from each channel.
        std: Divides each channel afterwards.

    Raises:
        TypeError: If one of them does not hold numbers.
        ValueError: If the lengths differ or are 0, or a standard deviation is not positive.

    Example:
        >>> Normalization((0.5,), (0.5,))(torch.ones(1, 1, 2, 2)).unique().item()
        1.0
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = getattr(self, name)
            try:
                object.__setattr__(self, name, tuple(map(float, values)))
            except (TypeError, ValueError):
                hint = f"; write ({values},)" if isinstance(values, int | float) else ""
                raise TypeError(f"{name} must hold one number per channel, got {values!r}{hint}") from None
        if len(self.mean) != len(self.std) or not self.mean or not min(self.std) > 0:
            raise ValueError(
                f"mean and std must have one number per channel, std must be positive; got {self.mean} and {self.std}"
            )

    @classmethod
    def none(cls, channels: int = 3) -> Self:
        """The identity, for images that are already normalized."""
        return cls((0.0,) * channels, (1.0,) * channels)

    @classmethod
    def of(cls, model: Any) -> Self:
        """The normalization that a timm or transformers model was trained with; ImageNet's where it is not known.

        A transformers model does not store it (its image processor does), so the published one of its model type is
        used.

        Raises:
            ValueError: If the configuration of a timm model has means without standard deviations.

        Example:
            >>> Normalization.of(torch.nn.Conv2d(1, 4, 3)).mean
            (0.449,)
        """
        config = getattr(model, "pretrained_cfg", None)
        if config and config.get("mean"):
            if not config.get("std"):
                raise ValueError(
                    f"std of the pretrained_cfg must be one number for each of mean, got {config.get('std')}; "
                    "pass normalization="
                )
            mean, std = tuple(config["mean"]), tuple(config["std"])
        else:
            mean, std = _BY_MODEL_TYPE.get(getattr(getattr(model, "config", None), "model_type", ""), _IMAGENET)
        channels = next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), 3)
        if len(mean) != channels:
            mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
        return cls(mean, std)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalize images ``(..., C, H, W)`` in 0..1, differentiably.

        Raises:
            ValueError: If the number of channels differs.
        """
        if images.shape[-3] != len(self.mean):
            raise ValueError(f"images must have {len(self.mean)} channels, got {images.shape[-3]}")
        mean, std = (torch.tensor(v, dtype=images.dtype, device=images.device) for v in (self.mean, self.std))
        return (images - mean[:, None, None]) / std[:, None, None]
