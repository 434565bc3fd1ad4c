"""What a model denoises: the picture itself scaled to [-1, 1], or its autoencoder's latent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def encode(images: Tensor, vae: Any | None) -> Tensor:
    """Encode pictures without randomness: the mean of the autoencoder's posterior, in the diffusion model's units.

    Args:
        images: ``(B, C, H, W)`` in [0, 1].
        vae: An ``AutoencoderKL``, whose configuration gives the scale and the shift, or None for pixel models.

    Returns:
        float32 ``(B, c, h, w)``.
    """
    centred = images * 2 - 1
    if vae is None:
        return centred
    if getattr(vae.config, "force_upcast", False) and vae.dtype == torch.float16:
        # Some autoencoders overflow in half precision and say so.
        vae.float()
    latent: Tensor = vae.encode(centred.to(vae.dtype)).latent_dist.mean.float()
    mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is not None and std is not None:
        shape = (1, -1, 1, 1)
        latent = (latent - latent.new_tensor(mean).view(shape)) / latent.new_tensor(std).view(shape)
        return latent * float(vae.config.scaling_factor)
    return (latent - float(getattr(vae.config, "shift_factor", None) or 0)) * float(vae.config.scaling_factor)


def downsampling(vae: Any | None) -> int:
    """How many pixels of the picture one latent pixel stands for, along a side."""
    return 1 if vae is None else 2 ** (len(vae.config.block_out_channels) - 1)
