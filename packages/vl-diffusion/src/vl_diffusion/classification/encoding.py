"""Images on their way into a search: read when their turn comes, brought to the model's size, and encoded."""

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

# Images that are encoded together: an autoencoder has large activations.
_ENCODED_AT_ONCE = 8


@torch.no_grad()
def encode(denoiser: Denoiser, images: Sequence[Tensor]) -> Tensor:
    """Images ``(C, H, W)`` in [0, 1], of any size, to what the model denoises, ``(B, c, h, w)``."""
    size, channels = denoiser.image_size, denoiser.image_channels
    return denoiser.encode_images(torch.stack([fit(image, size, channels) for image in images]))


def encode_each(
    denoiser: Denoiser, images: Sequence[Any], ids: Sequence[int] | None = None, logits: np.ndarray | None = None
) -> Iterator[EncodedImage]:
    """The images as subjects, in order.

    Args:
        denoiser: The model that they are encoded for.
        images: Anything with a length and integer indices.
        ids: An id for each, 64 bits; by default made from the pixels.
        logits: ``(B, K)``, what another model says of each.

    Raises:
        TypeError: If an image is of no known kind.
        ValueError: If an image is NaN, out of range, or neither gray nor RGB.
    """
    for start in range(0, len(images), _ENCODED_AT_ONCE):
        places = range(start, min(start + _ENCODED_AT_ONCE, len(images)))
        tensors = [checked_image(images[i], i) for i in places]
        for i, tensor, latent in zip(places, tensors, encode(denoiser, tensors), strict=True):
            image_id = content_id(tensor) if ids is None else ids[i]
            yield EncodedImage(i, image_id, latent, None if logits is None else logits[i])
