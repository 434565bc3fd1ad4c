"""Adapters to other libraries: preprocessing of their classifiers, and CLIP as a zero-shot classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vl_core.data import Normalization, fit_image

from vl_diffusion.checks import checked_classes


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop and normalize an image ``(C, H, W)`` in [0, 1] to a classifier's ``(channels, size, size)``."""

    size: int
    """Height and width of the input, in pixels."""

    mean: tuple[float, ...] = (0.0,)
    """Subtracted from each channel."""

    std: tuple[float, ...] = (1.0,)
    """Divides each channel afterwards."""

    resize: int | None = None
    """Length of the shorter side before the center crop; by default `size`."""

    channels: int | None = None
    """1 for luminance, 3 for color; by default as many as `mean`, or those of the image if it has one number."""

    def __post_init__(self) -> None:
        Normalization(self.mean, self.std)  # checks them
        if self.size < 1 or (self.resize is not None and self.resize < self.size):
            raise ValueError(f"size must be at least 1, and resize no less, got {self.size} and {self.resize}")
        if self.channels not in (None, 1, 3) or (self.channels and len(self.mean) not in (1, self.channels)):
            raise ValueError(f"channels must be 1 or 3, and fit mean {self.mean}, got {self.channels}")

    @classmethod
    def of(cls, source: Any) -> Preprocessing:
        """Read the preprocessing that a model was trained with from its library's configuration.

        Args:
            source: A timm model (its ``pretrained_cfg``, at its own size and channels), a transformers image processor,
                or the transforms of torchvision weights (``weights.transforms()``).

        Raises:
            ValueError: If it is none of these, has no size, or takes other images than squares in gray or color.
        """
        timm = getattr(source, "pretrained_cfg", None) or getattr(source, "default_cfg", None)
        if isinstance(timm, Mapping):
            return cls._of_timm(source, timm)
        if hasattr(source, "image_mean"):
            return cls._of_processor(source)
        if hasattr(source, "crop_size") and hasattr(source, "mean"):
            return cls(_side(source.crop_size), tuple(source.mean), tuple(source.std), _side(source.resize_size))
        raise ValueError(
            f"{type(source).__name__} does not say how its images are prepared; pass a timm model, a transformers "
            "image processor, or the transforms of torchvision's weights"
        )

    @classmethod
    def _of_timm(cls, model: Any, config: Mapping[str, Any]) -> Preprocessing:
        # The configuration is of the published weights; a model may have been built for other images.
        sides = getattr(getattr(model, "patch_embed", None), "img_size", None) or config["input_size"][1:]
        channels = getattr(model, "in_chans", config["input_size"][0])
        if len(set(sides)) > 1 or channels not in (1, 3):
            raise ValueError(
                f"{type(model).__name__} takes {channels} channels of {tuple(sides)} pixels, expected squares of 1 or "
                "3; pass a function of your own as preprocess="
            )
        size = int(sides[-1])
        resize = max(size, int(size / (config.get("crop_pct") or 1.0)))
        mean, std = tuple(config["mean"]), tuple(config["std"])
        if len(mean) == channels:
            return cls(size, mean, std, resize)
        return cls(size, (sum(mean) / len(mean),), (sum(std) / len(std),), resize, channels)

    @classmethod
    def _of_processor(cls, processor: Any) -> Preprocessing:
        resized = getattr(processor, "size", None)
        crops = getattr(processor, "do_center_crop", False) and getattr(processor, "crop_size", None) is not None
        if resized is None and not crops:
            raise ValueError(f"{type(processor).__name__} names no size")
        size = _side(processor.crop_size if crops else resized)
        mean, std = ((0.0,), (1.0,)) if processor.image_mean is None else (processor.image_mean, processor.image_std)
        # ConvNeXt's processors resize to size / crop_pct and then crop to `size`.
        share = getattr(processor, "crop_pct", None)
        resize = int(size / share) if share else size if resized is None else _side(resized)
        return cls(size, tuple(mean), tuple(std), max(size, resize))

    def __call__(self, image: Tensor) -> Tensor:
        """Prepare one image, differentiably."""
        channels = self.channels or (len(self.mean) if len(self.mean) > 1 else image.shape[0])
        image = fit_image(image, self.resize or self.size, channels, crop=self.size)
        # A single mean and std is that of all channels.
        mean, std = (values * channels if len(values) == 1 else values for values in (self.mean, self.std))
        return Normalization(mean, std)(image)


class ZeroShotCLIP(nn.Module):
    """Zero-shot classifier from a CLIP model: cosines of image and prompts, times the model's logit scale.

    Without normalization of the embeddings, the softmax would be far too sharp for adaptation.

    Args:
        model: A transformers ``CLIPModel``, or another with its members.
        tokenizer: Its tokenizer.
        classes: Class names, in the order of the logits.
        prompt_template: A prompt with ``{}`` in place of the class name.

    Raises:
        ValueError: If the classes or the template are invalid.
    """

    text: Tensor

    def __init__(
        self, model: Any, tokenizer: Any, classes: Sequence[str], prompt_template: str = "a photo of a {}."
    ) -> None:
        super().__init__()
        if prompt_template.count("{}") != 1:
            raise ValueError(f"prompt_template must hold {{}} once, got {prompt_template!r}")
        self.classes = checked_classes(classes)
        # The text tower is only needed for the prompts' embeddings, which stay fixed.
        self.vision_model, self.visual_projection = model.vision_model, model.visual_projection
        self.logit_scale = model.logit_scale
        prompts = [prompt_template.replace("{}", name) for name in self.classes]
        tokens = tokenizer(prompts, padding=True, return_tensors="pt")
        with torch.no_grad():
            text = model.text_projection(model.text_model(**tokens).pooler_output)
        self.register_buffer("text", F.normalize(text, dim=1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits ``(B, K)`` of images ``(B, 3, H, W)``, normalized as the model was trained."""
        features = self.visual_projection(self.vision_model(pixel_values=pixels).pooler_output)
        logits: Tensor = self.logit_scale.exp() * F.normalize(features, dim=1) @ self.text.T
        return logits


def _side(size: Any) -> int:
    """Read a side length from a number, a list of them, or a mapping."""
    if isinstance(size, Mapping) or hasattr(size, "get"):
        sides = [size.get(name) for name in ("shortest_edge", "height")]
        size = next((side for side in sides if side), None)
        if size is None:
            raise ValueError("the size has neither shortest_edge nor height")
    return int(size[0] if isinstance(size, Sequence) else size)
