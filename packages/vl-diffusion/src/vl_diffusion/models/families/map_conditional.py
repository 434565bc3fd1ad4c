"""Models that are shown a map beside the noisy image, such as a class a pixel, or depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vl_diffusion.models import latents
from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families._bare_network import BareNetwork
from vl_diffusion.models.schedule import NoiseSchedule


class MapConditionalDenoiser(BareNetwork):
    """A network whose input is the noisy image (or latent) and, as further channels, a map of the same size.

    Of class maps, the first layer's kernels are the embeddings of the classes: probabilities in place of a one-hot map
    mix them.

    Args:
        model: A ``UNet2DModel`` with as many more input than output channels as the map has.
        schedule: Its noise schedule.
        vae: The ``AutoencoderKL`` of a latent model; None for a model of pixels.

    Raises:
        ValueError: If the network has no channels for a map, or is not for square images.
    """

    class_names: tuple[str, ...] | None = None

    def __init__(self, model: Any, schedule: NoiseSchedule, *, vae: Any | None = None) -> None:
        super().__init__(model, schedule, vae)
        channels = int(model.config.out_channels)
        self.condition_channels = int(model.config.in_channels) - channels
        if self.condition_channels < 1:
            raise ValueError(
                f"this {type(model).__name__} takes {model.config.in_channels} channels and gives {channels}: it has "
                "no input for a map"
            )
        self.condition_size = latents.sample_size(model)
        self.image_channels = channels if vae is None else int(vae.config.in_channels)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MapConditionalDenoiser:
        """Load a ``UNet2DModel`` of pixels from a folder with its ``scheduler_config.json``.

        Raises:
            FileNotFoundError: If one of them is not there.
            ValueError: If the network has no channels for a map, or the schedule cannot be read.
        """
        from diffusers import UNet2DModel

        from vl_diffusion.models.folders import read_schedule

        folder = Path(folder)
        for name in ("config.json", "scheduler_config.json"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} has no {name}; a network and its scheduler are saved side by side")
        network = UNet2DModel.from_pretrained(folder, use_safetensors=True, torch_dtype=torch.float32)
        return cls(network, read_schedule(folder / "scheduler_config.json"))

    def encode_classes(self, classes: object) -> Condition:
        """Raise TypeError: there is no class an image."""
        raise TypeError("a MapConditionalDenoiser is told of maps, not of classes; it adapts dense predictions")

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        assert isinstance(condition, Tensor)
        shown = torch.cat([x_t, condition.to(x_t)], 1).to(self.model.dtype)
        output: Tensor = self.model(shown, time).sample
        return output
