"""What denoisers share that are one network, its schedule and perhaps an autoencoder, without a pipeline."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vl_diffusion.models import latents
from vl_diffusion.models.schedule import NoiseSchedule


class BareNetwork:
    """A network of pixels or of an autoencoder's latents.

    Args:
        model: A diffusers network for square images.
        schedule: Its noise schedule.
        vae: The ``AutoencoderKL`` of a latent model; None for a model of pixels.

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
        """The module that predicts."""
        return self.model

    def to(self, device: str | torch.device) -> None:
        """Move the network and the autoencoder."""
        self.model.to(device)
        if self.vae is not None:
            self.vae.to(device)

    def encode_images(self, images: Tensor) -> Tensor:
        return latents.encode(images.to(self.device), self.vae)
