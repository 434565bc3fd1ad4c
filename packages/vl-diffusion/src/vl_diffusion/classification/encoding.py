"""Encode images for a model: read each when it is needed, resize it, and apply the autoencoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vl_core.data import checked_image

from vl_diffusion.classification.engine import EncodedImage
from vl_diffusion.models.denoiser import Denoiser
from vl_diffusion.models.images import content_id, fit

# Batch size of the autoencoder, whose activations are large.
_BATCH_SIZE = 8


@torch.no_grad()
def encode(denoiser: Denoiser, images: Sequence[Tensor]) -> Tensor:
    """Encode images ``(C, H, W)`` in [0, 1] of any size as model inputs ``(B, c, h, w)``."""
    size, channels = denoiser.image_size, denoiser.image_channels
    return denoiser.encode_images(torch.stack([fit(image, size, channels) for image in images]))


def encode_each(
    denoiser: Denoiser, images: Sequence[Any], ids: Sequence[int] | None = None, logits: np.ndarray | None = None
) -> Iterator[EncodedImage]:
    """Encode images one after the other, in order.

    Args:
        denoiser: The model.
        images: Anything with a length and integer indices.
        ids: A 64-bit id per image; by default a hash of the pixels.
        logits: Scores ``(B, K)`` from another model.

    Raises:
        TypeError: If an image is of an unsupported type.
        ValueError: If an image has NaN, is out of range, or is neither gray nor RGB.
    """
    for start in range(0, len(images), _BATCH_SIZE):
        places = range(start, min(start + _BATCH_SIZE, len(images)))
        tensors = [checked_image(images[i], i) for i in places]
        for i, tensor, latent in zip(places, tensors, encode(denoiser, tensors), strict=True):
            image_id = content_id(tensor) if ids is None else ids[i]
            yield EncodedImage(i, image_id, latent, None if logits is None else logits[i])
