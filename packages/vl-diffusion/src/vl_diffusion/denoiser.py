"""The contract between a diffusion model and the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from vl_diffusion.schedule import NoiseSchedule


class Denoiser(Protocol):
    """A class- or text-conditional diffusion model, seen from the classifier.

    Implement these members to classify with a model that the package does not know. ``B`` is a batch, ``K`` the number
    of classes, ``(c, h, w)`` the shape that the model denoises (a latent's, or the picture's own).
    """

    schedule: NoiseSchedule
    """Noise levels and what the network predicts."""

    image_size: int
    """Height and width of the pictures it was trained on, in pixels."""

    image_channels: int
    """1 for grey pictures, 3 for colour."""

    class_names: tuple[str, ...] | None
    """Names of the classes it was trained on, where it knows them."""

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Pictures ``(B, channels, size, size)`` in [0, 1] to what is denoised, float32 ``(B, c, h, w)``."""
        ...

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        """What the network is given for each class, ``(K, ...)``; computed once."""
        ...

    def predict(self, x_t: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        """The network's own output, ``(B, c, h, w)``, for steps int64 ``(B,)`` and rows of `encode_classes`."""
        ...
