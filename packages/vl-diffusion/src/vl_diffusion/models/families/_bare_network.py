"""Base class of denoisers without a pipeline: a network, its schedule, and an optional autoencoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vl_diffusion.models import _latents as latents
from vl_diffusion.models.schedule import NoiseSchedule


class BareNetwork:
    """A network on pixels or on the latents of an autoencoder.

    Args:
        model: A diffusers network for square images; put in evaluation mode.
        schedule: Its noise schedule.
        vae: The ``AutoencoderKL`` of a latent model; None for a pixel model.

    Raises:
        ValueError: If the network is not for square images.
    """

    def __init__(self, model: Any, schedule: NoiseSchedule, vae: Any | None) -> None:
        self.model = model.eval()
        self.schedule = schedule
        self.vae = None if vae is None else vae.eval()
        self.image_size = latents.sample_size(model) * latents.downsampling(vae)

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def network(self) -> Any:
        """The denoising network."""
        return self.model

    def to(self, device: str | torch.device) -> None:
        """Move the network and the autoencoder."""
        self.model.to(device)
        if self.vae is not None:
            self.vae.to(device)

    def encode_images(self, images: Tensor) -> Tensor:
        return latents.encode(images.to(self.device), self.vae)
