"""Model inputs: images scaled to [-1, 1], or latents of the autoencoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def encode(images: Tensor, vae: Any | None) -> Tensor:
    """Encode images deterministically, as the scaled mean of the autoencoder's posterior.

    An autoencoder with ``force_upcast``, which overflows in half precision, is run in float32.

    Args:
        images: ``(B, C, H, W)`` in [0, 1].
        vae: An ``AutoencoderKL``, whose configuration gives scale and shift; None for pixel models.

    Returns:
        float32 ``(B, c, h, w)``.
    """
    centered = images * 2 - 1
    if vae is None:
        return centered
    latent = _posterior_mean(centered, vae)
    mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is not None and std is not None:
        shape = (1, -1, 1, 1)
        latent = (latent - latent.new_tensor(mean).view(shape)) / latent.new_tensor(std).view(shape)
        return latent * float(vae.config.scaling_factor)
    return (latent - float(getattr(vae.config, "shift_factor", None) or 0)) * float(vae.config.scaling_factor)


def _posterior_mean(centered: Tensor, vae: Any) -> Tensor:
    precision = vae.dtype
    upcast = getattr(vae.config, "force_upcast", False) and precision == torch.float16
    try:
        if upcast:
            vae.float()
        mean: Tensor = vae.encode(centered.to(vae.dtype)).latent_dist.mean
        return mean.float()
    finally:
        # Restore the precision of the caller's autoencoder.
        if upcast:
            vae.to(precision)


def downsampling(vae: Any | None) -> int:
    """Image pixels per latent pixel, along one side."""
    return 1 if vae is None else 2 ** (len(vae.config.block_out_channels) - 1)


def sample_size(network: Any) -> int:
    """Height and width of the network's training inputs, in its own pixels.

    Raises:
        ValueError: If the configuration has none, or they differ.
    """
    size = network.config.sample_size
    sides = set(size) if isinstance(size, tuple | list) else {size}
    side = sides.pop()
    if sides or not isinstance(side, int):
        raise ValueError(
            f"sample_size of this {type(network).__name__} must be one number, since images are square, got {size}; "
            "set it with register_to_config(sample_size=...)"
        )
    return side
