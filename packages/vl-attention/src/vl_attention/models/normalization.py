"""Normalization of images in 0..1 before they enter a model."""

from __future__ import annotations

from torch import nn
from vl_core import data

from vl_attention.models.layout import inner_vit

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


class Normalization(data.Normalization):
    """Mean and standard deviation per channel, given or read from a model.

    Example:
        >>> Normalization.none().std
        (1.0, 1.0, 1.0)
    """

    @classmethod
    def of(cls, model: nn.Module) -> Normalization:
        """The normalization that a timm or transformers model was trained with; ImageNet's where it is not known.

        That of the model inside, if it is a module of the user's own that wraps one.

        A transformers model does not store it (its image processor does), so the published one of its model type is
        used.

        Raises:
            ValueError: If the configuration of a timm model has means without standard deviations.
        """
        channels = _channels(model)
        model = inner_vit(model)
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
        if len(mean) != channels:
            mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
        return cls(mean, std)


def _channels(model: nn.Module) -> int:
    """Number of image channels, from the first convolution."""
    return next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
