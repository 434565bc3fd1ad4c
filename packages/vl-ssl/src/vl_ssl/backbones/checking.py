"""A look at a backbone that leaves it as it was: the width of its features, or a clear refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode without gradients; afterwards every mode and every buffer is as it was.

    Modes are kept part by part, since a model in training may hold batch norms that its owner froze. Buffers are
    restored bit by bit even if a part changes its own in evaluation mode.
    """
    modes = {part: part.training for part in module.modules()}
    buffers = {name: (buffer, buffer.detach().clone()) for name, buffer in module.named_buffers()}
    try:
        for part in modes:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part, training in modes.items():
            part.training = training
        with torch.no_grad():
            now = dict(module.named_buffers())
            for name, (buffer, before) in buffers.items():
                _restore(module, name, now.get(name), buffer, before)


def _restore(module: nn.Module, name: str, now: Tensor | None, buffer: Tensor, before: Tensor) -> None:
    """Put one buffer back, in place, so that what shares its memory keeps doing so."""
    buffer.copy_(before)
    if now is not buffer:
        path, _, last = name.rpartition(".")
        module.get_submodule(path)._buffers[last] = buffer


def check_backbone(module: nn.Module, channels: int, image_size: int) -> int:
    """The number of features of a backbone, found by a forward pass of two images in evaluation mode.

    Modes, buffers and PyTorch's generator are afterwards as they were.

    Args:
        module: Maps images ``(B, C, H, W)`` to features ``(B, d)``.
        channels: Channels ``C``, at least 1.
        image_size: Height and width in pixels, at least 1.

    Raises:
        TypeError: If it is no module.
        ValueError: If it refuses images of that shape, or its output is not of shape ``(B, d)``.

    Example:
        >>> check_backbone(nn.Flatten(), channels=3, image_size=4)
        48
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"backbone must be a torch.nn.Module, got {type(module).__name__}; see build_backbone")
    if channels < 1 or image_size < 1:
        raise ValueError(f"channels and image_size must be at least 1, got {channels} and {image_size}")
    first = next(iter(module.parameters()), torch.zeros(()))
    images = torch.linspace(0, 1, 2 * channels * image_size**2, device=first.device, dtype=first.dtype)
    with evaluating(module):
        try:
            features = module(images.view(2, channels, image_size, image_size))
        # A network says in many ways that an image is too small or has the wrong channels.
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            raise ValueError(
                f"backbone must take images of shape (B, {channels}, {image_size}, {image_size}), got "
                f"{type(error).__name__}: {error}; build it with channels={channels} and image_size={image_size}"
            ) from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(
            f"backbone must return features of shape (B, d), here (2, d), got {got}; "
            "pool it: global_pool='avg' in timm, and num_classes=0"
        )
    return features.shape[1]
