"""What a model denoises: the image itself scaled to [-1, 1], or its autoencoder's latent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def encode(images: Tensor, vae: Any | None) -> Tensor:
    """Encode images without randomness: the mean of the autoencoder's posterior, in the diffusion model's units.

    An autoencoder that says that it overflows in half precision (``force_upcast``) computes in float32 meanwhile.

    Args:
        images: ``(B, C, H, W)`` in [0, 1].
        vae: An ``AutoencoderKL``, whose configuration gives the scale and the shift, or None for pixel models.

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
        # The autoencoder is the caller's, whose pipeline samples in the precision that it has.
        if upcast:
            vae.to(precision)


def downsampling(vae: Any | None) -> int:
    """How many pixels of the image one latent pixel stands for, along a side."""
    return 1 if vae is None else 2 ** (len(vae.config.block_out_channels) - 1)


def sample_size(network: Any) -> int:
    """Height and width of what a network was trained on, in its own pixels.

    Raises:
        ValueError: If its configuration does not say, or they differ.
    """
    size = network.config.sample_size
    sides = set(size) if isinstance(size, tuple | list) else {size}
    side = sides.pop()
    if sides or not isinstance(side, int):
        raise ValueError(
            f"sample_size of this {type(network).__name__} must be one number, for images are square, got {size}; "
            "set it with register_to_config(sample_size=...)"
        )
    return side
