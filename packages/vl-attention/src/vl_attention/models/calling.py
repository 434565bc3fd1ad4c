"""Models of timm and of transformers behind one call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def is_of_transformers(model: nn.Module) -> bool:
    """Whether a model is one of transformers, which has a configuration and takes ``pixel_values``."""
    return getattr(model, "config", None) is not None and hasattr(model, "post_init")


def vision_config(model: nn.Module) -> Any:
    """The configuration of a model of transformers as far as images go; None for other models."""
    config = getattr(model, "config", None)
    return getattr(config, "vision_config", config)


def call(model: nn.Module, images: Tensor) -> Any:
    """What a model returns for normalized images ``(B, C, H, W)`` of any size that it can take."""
    if not is_of_transformers(model):
        return model(images)
    size = getattr(vision_config(model), "image_size", None)
    size = (size, size) if isinstance(size, int) else size
    # Asked for only where it is needed, since not every model of transformers can interpolate its positions.
    interpolate = size is not None and tuple(images.shape[-2:]) != tuple(size)
    return model(pixel_values=images, **({"interpolate_pos_encoding": True} if interpolate else {}))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each module, frozen or not, then has the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def logits_of(output: Any) -> Tensor:
    """The logits ``(B, classes)`` in what a classifier returned.

    Raises:
        ValueError: If there are none.
    """
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if logits is None and isinstance(output, tuple) and output and all(isinstance(part, Tensor) for part in output):
        logits = torch.stack(output).mean(0)  # a distilled DeiT has two heads
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ValueError(
            f"the student must return logits (B, classes), got {type(output).__name__}; give a model with a "
            "classifier, or leave student=None and say num_classes"
        )
    return logits


def head_count(attention: nn.Module) -> int | None:
    """How many heads an attention module says that it has."""
    for owner in (attention, getattr(attention, "config", None)):
        for name in ("num_heads", "num_attention_heads"):
            if isinstance(count := getattr(owner, name, None), int):
                return count
    return None


def check_images(images: Tensor) -> None:
    """Raise unless these are images as floats ``(B, C, H, W)``."""
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images must be floats (B, C, H, W) in 0..1, got {got}")
