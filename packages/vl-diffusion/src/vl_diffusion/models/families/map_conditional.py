"""Models conditioned on a map, such as segmentation or depth, in additional input channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vl_diffusion.models import _latents as latents
from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families._bare_network import BareNetwork
from vl_diffusion.models.schedule import NoiseSchedule


class MapConditionalDenoiser(BareNetwork):
    """A network whose input is the noisy image (or latent) and a map of the same size as additional channels.

    For class maps, the kernels of the first layer act as class embeddings, so that probabilities in place of a one-hot
    map mix them.

    Args:
        model: A ``UNet2DModel`` with input channels for the image and the map, and output channels for the image.
        schedule: Its noise schedule.
        vae: The ``AutoencoderKL`` of a latent model; None for a pixel model.

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
                f"model must have more input than output channels, for a map, and this {type(model).__name__} has "
                f"{model.config.in_channels} and {channels}"
            )
        self.condition_size = latents.sample_size(model)
        self.image_channels = channels if vae is None else int(vae.config.in_channels)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MapConditionalDenoiser:
        """Load a pixel ``UNet2DModel`` from a folder with its ``scheduler_config.json``.

        Raises:
            FileNotFoundError: If one of the files is missing.
            ValueError: If the network has no channels for a map, the schedule cannot be read, or the weights are
                missing or damaged.
        """
        from diffusers import UNet2DModel

        from vl_diffusion.models.folders import read_schedule
        from vl_diffusion.models.weights import check_weights

        folder = Path(folder).expanduser()
        for name in ("config.json", "scheduler_config.json"):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder} has no {name}; save the network and its scheduler in the same folder"
                )
        variant = check_weights(folder, None)
        network = UNet2DModel.from_pretrained(folder, use_safetensors=True, torch_dtype=torch.float32, variant=variant)
        return cls(network, read_schedule(folder / "scheduler_config.json"))

    def encode_classes(self, classes: object) -> Condition:
        """Raise TypeError: the condition is a map, not a class."""
        raise TypeError("a MapConditionalDenoiser takes maps instead of classes; use it to adapt dense predictions")

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        assert isinstance(condition, Tensor)
        shown = torch.cat([x_t, condition.to(x_t)], 1).to(self.model.dtype)
        output: Tensor = self.model(shown, time).sample
        return output
