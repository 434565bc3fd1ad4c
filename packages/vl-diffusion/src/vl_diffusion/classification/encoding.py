"""Encode images for a model: read each when it is needed, resize it, and apply the autoencoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vl_core.data import fit_image

from vl_diffusion.classification.engine import EncodedImage
from vl_diffusion.models.denoiser import Denoiser
from vl_diffusion.models.image_stream import OnError, load_each
from vl_diffusion.models.images import content_id

# Batch size of the autoencoder, whose activations are large.
_BATCH_SIZE = 8


@torch.no_grad()
def encode(denoiser: Denoiser, images: Sequence[Tensor]) -> Tensor:
    """Encode images ``(C, H, W)`` in [0, 1] of any size as model inputs ``(B, c, h, w)``."""
    size, channels = denoiser.image_size, denoiser.image_channels
    return denoiser.encode_images(torch.stack([fit_image(image, size, channels) for image in images]))


def encode_each(
    denoiser: Denoiser,
    images: Any,
    ids: Sequence[int] | None = None,
    logits: np.ndarray | None = None,
    *,
    on_error: OnError | None = None,
) -> Iterator[EncodedImage]:
    """Encode images one after the other, in order.

    Args:
        denoiser: The model.
        images: As for :meth:`vl_diffusion.DiffusionClassifier.classify`.
        ids: A 64-bit id per image; by default a hash of the pixels.
        logits: Scores ``(B, K)`` from another model.
        on_error: Called with the index and the error of an image that cannot be read, which is then left out.

    Raises:
        OSError: If a file cannot be read.
        TypeError: If an image is of an unsupported type.
        ValueError: If an image cannot be decoded, has NaN, is out of range, or is neither gray nor RGB; or if there are
            more or fewer images than ids or logits.
    """
    counts = {len(given) for given in (ids, logits) if given is not None}
    stream = load_each(images, counts=counts, on_error=on_error)
    while group := list(islice(stream, _BATCH_SIZE)):
        for (i, tensor), latent in zip(group, encode(denoiser, [tensor for _, tensor in group]), strict=True):
            image_id = content_id(tensor) if ids is None else ids[i]
            yield EncodedImage(i, image_id, latent, None if logits is None else logits[i])
