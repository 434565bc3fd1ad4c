"""One way to call timm and transformers models."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from vl_core.devices import input_weight

_HALF = (torch.float16, torch.bfloat16)
_PRECISIONS = (*_HALF, torch.float32, torch.float64)

# Resizing and noise leave 0..1 by less, or in fewer pixels.
_MARGIN = 0.25
_FEW = 0.01
_seen: weakref.WeakSet[nn.Module] = weakref.WeakSet()


def is_transformers_model(model: nn.Module) -> bool:
    """True for a transformers model, which has a configuration and takes ``pixel_values``."""
    return getattr(model, "config", None) is not None and hasattr(model, "post_init")


def vision_config(model: nn.Module) -> Any:
    """The vision part of a transformers model's configuration; None for other models."""
    config = getattr(model, "config", None)
    return getattr(config, "vision_config", config)


def call_model(model: nn.Module, images: Tensor) -> Any:
    """Run a model on normalized images ``(B, C, H, W)`` of any size that it supports, and return its output.

    Images are converted to the model's floating-point type. A model in half precision computes in its own type under
    autocast to another.

    Raises:
        ValueError: If the images are not on the model's device.
    """
    weight = input_weight(model)
    own_precision: Any = nullcontext()
    if weight is not None and weight.dtype in _PRECISIONS:
        if weight.device != images.device:
            raise ValueError(
                f"images must be on the device of {type(model).__name__}, {weight.device}, got {images.device}; move "
                "images and models to one device with .to()"
            )
        images = images.to(weight.dtype)
        if weight.dtype in _HALF and _autocasts_to_another(weight):
            own_precision = torch.autocast(weight.device.type, enabled=False)
    with own_precision:
        if not is_transformers_model(model):
            return model(images)
        size = getattr(vision_config(model), "image_size", None)
        size = (size, size) if isinstance(size, int) else size
        # Only where it is needed, since not every transformers model can interpolate its position embeddings.
        interpolate = size is not None and tuple(images.shape[-2:]) != tuple(size)
        return model(pixel_values=images, **({"interpolate_pos_encoding": True} if interpolate else {}))


def _autocasts_to_another(weight: Tensor) -> bool:
    """True if autocast is on and would compute in another type than the weight's."""
    device = weight.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return False
    return torch.get_autocast_dtype(device) != weight.dtype


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode temporarily; afterwards each module is back in its previous mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def get_logits(output: Any) -> Tensor:
    """Extract the logits ``(B, num_classes)`` from the output of a classifier.

    Raises:
        ValueError: If the output has no logits.
    """
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if logits is None and isinstance(output, tuple) and output and all(isinstance(part, Tensor) for part in output):
        logits = torch.stack(output).mean(0)  # a distilled DeiT has two heads
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ValueError(
            f"the student must return logits (B, num_classes), got {type(output).__name__}; pass a model with a "
            "classifier, or leave student=None and set num_classes"
        )
    return logits


def head_count(attention: nn.Module) -> int | None:
    """Number of heads of an attention module; None if the module does not state it."""
    for owner in (attention, getattr(attention, "config", None)):
        for name in ("num_heads", "num_attention_heads"):
            if isinstance(count := getattr(owner, name, None), int):
                return count
    return None


def check_precision(name: str, model: nn.Module) -> None:
    """Raise a ValueError if a model's weights are floating-point numbers that images cannot be converted to."""
    weight = input_weight(model)
    if weight is not None and weight.is_floating_point() and weight.dtype not in _PRECISIONS:
        raise ValueError(
            f"{name} must have weights in float32, float16, bfloat16 or float64, got {weight.dtype}; convert it with "
            ".to(torch.bfloat16)"
        )


def check_images(images: Tensor, model: nn.Module | None = None) -> None:
    """Raise a ValueError unless these are floating-point images ``(B, C, H, W)`` in 0..1.

    Up to 1 % of the numbers may be anything, and the others may leave 0..1 by 0.25, as resizing and noise do.

    Args:
        images: The images.
        model: A model that is called again and again. Reading numbers waits for an accelerator, so there only its first
            images are read.
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images must be floats (B, C, H, W) in 0..1, got {got}")
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if traced or torch.compiler.is_compiling() or images.is_meta or not images.numel():
        return
    if model is None or images.device.type == "cpu" or model not in _seen:
        _check_values(images.detach())
    if model is not None:
        _seen.add(model)


def _check_values(images: Tensor) -> None:
    try:
        low, high = (float(value) for value in images.aminmax())
    except RuntimeError:  # numbers that cannot be read, as inside of torch.vmap
        return
    if low >= -_MARGIN and high <= 1 + _MARGIN:
        return
    outside = (images < -_MARGIN) | (images > 1 + _MARGIN)
    if float(outside.float().mean()) > _FEW:
        raise ValueError(
            f"images must be floats (B, C, H, W) in 0..1, got numbers from {low:.4g} to {high:.4g}; divide bytes by "
            "255, and leave out the normalization, which is done here"
        )
