"""Base class of text-conditional pipelines: their parts, sizes, and prompt encoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vl_diffusion.checks import checked_image_size
from vl_diffusion.models import _latents as latents
from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.schedule import NoiseSchedule

# Batch size of the text encoder, whose activations may be large.
_PROMPT_BATCH_SIZE = 32


class PromptedDenoiser(ABC):
    """Network, autoencoder, schedule and text encoders of a pipeline.

    Only the configuration of the scheduler is read. Prompts are encoded by the pipeline's ``encode_prompt``, so the
    network gets the same input as in sampling without guidance.

    Args:
        pipeline: A diffusers pipeline.
        network: Name of its attribute with the denoising network.
        text_parts: Names of its attributes that encoding prompts requires.
        image_size: Height and width of the images, in pixels; None for the training resolution.
        packing: Side of the blocks of latent pixels that the network takes as channels.
        flow: True if the network predicts the velocity of a flow.

    Raises:
        ValueError: If a part of the pipeline is missing, if the network takes more than the noisy image, if the
            scheduler does not match the network, or if the size is not supported.
    """

    class_names: tuple[str, ...] | None = None
    takes_prompts = True

    def __init__(
        self,
        pipeline: Any,
        *,
        network: str,
        text_parts: Sequence[str],
        image_size: int | None,
        packing: int = 1,
        flow: bool = False,
    ) -> None:
        require_parts(pipeline, network, "scheduler", *text_parts)
        self.pipeline = pipeline
        self.network = getattr(pipeline, network).eval()
        self.vae = None if pipeline.vae is None else pipeline.vae.eval()
        for name in text_parts:
            if isinstance(part := getattr(pipeline, name), torch.nn.Module):
                part.eval()
        self.schedule = NoiseSchedule.from_scheduler(pipeline.scheduler)
        if flow and self.schedule.prediction != "flow_prediction":
            raise ValueError(
                f"scheduler of this {type(pipeline).__name__} must be for flow matching like its network, got "
                f"{type(pipeline.scheduler).__name__}; restore its FlowMatchEulerDiscreteScheduler"
            )
        channels = int(self.network.config.in_channels)
        latent = channels if self.vae is None else int(self.vae.config.latent_channels) * packing**2
        if channels != latent:
            raise ValueError(
                f"the network of this {type(pipeline).__name__} must take the {latent} channels of its autoencoder, "
                f"got {channels}; models that take a mask or another image as well are not supported"
            )
        self.learns_variance = int(self.network.config.out_channels or channels) == 2 * channels
        self.image_channels = channels if self.vae is None else int(self.vae.config.in_channels)
        pixels = latents.downsampling(self.vae)
        size = checked_image_size(image_size)
        self.image_size = latents.sample_size(self.network) * pixels if size is None else size
        step = pixels * packing * int(getattr(self.network.config, "patch_size", 1))
        if self.image_size < 1 or self.image_size % step:
            raise ValueError(f"image_size must be a positive multiple of {step} for this model, got {image_size}")

    @property
    def device(self) -> torch.device:
        return torch.device(self.network.device)

    def to(self, device: str | torch.device) -> None:
        """Move all parts of the pipeline."""
        self.pipeline.to(device)

    def encode_images(self, images: Tensor) -> Tensor:
        return latents.encode(images.to(self.device), self.vae)

    @torch.no_grad()
    def encode_classes(self, classes: Sequence[str]) -> Condition:
        """Encode K prompts to tensors ``(K, ...)`` by name, in the network's precision."""
        prompts = list(classes)
        parts = [
            {
                name: value.to(self.network.dtype) if value.is_floating_point() else value
                for name, value in self.encode_prompts(prompts[start : start + _PROMPT_BATCH_SIZE]).items()
            }
            for start in range(0, len(prompts), _PROMPT_BATCH_SIZE)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    @abstractmethod
    def encode_prompts(self, prompts: list[str]) -> dict[str, Tensor]:
        """Encode one batch of prompts, in the text encoders' precision."""

    @abstractmethod
    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor: ...


def require_parts(pipeline: Any, *names: str) -> None:
    """Raise ValueError if the pipeline lacks one of these parts."""
    for name in names:
        if getattr(pipeline, name, None) is None:
            raise ValueError(f"this {type(pipeline).__name__} has no {name}; load it with all its parts")


def by_name(condition: Condition) -> Mapping[str, Tensor]:
    """Narrow the type of a condition from `PromptedDenoiser.encode_classes`."""
    assert isinstance(condition, Mapping)
    return condition
