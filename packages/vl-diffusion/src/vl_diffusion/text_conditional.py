"""Models that take a text: Stable Diffusion pipelines (1.x and 2.x, noise or velocity prediction)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vl_diffusion import latents
from vl_diffusion.schedule import NoiseSchedule


class TextConditionalDenoiser:
    """A Stable-Diffusion-type pipeline whose prompts are made from class names.

    Args:
        pipeline: Anything with ``unet``, ``vae``, ``text_encoder``, ``tokenizer`` and ``scheduler``.
        prompt_template: A prompt with ``{}`` where the class name goes.

    Raises:
        ValueError: If the template has no place for the class name.
    """

    class_names: tuple[str, ...] | None = None

    def __init__(self, pipeline: Any, *, prompt_template: str = "a photo of a {}.") -> None:
        if "{}" not in prompt_template:
            raise ValueError(f"prompt_template must hold {{}} where the class name goes, got {prompt_template!r}")
        self.prompt_template = prompt_template
        self.unet, self.vae = pipeline.unet.eval(), pipeline.vae.eval()
        self.text_encoder, self.tokenizer = pipeline.text_encoder.eval(), pipeline.tokenizer
        self.schedule = NoiseSchedule.from_config(pipeline.scheduler.config)
        self.image_size = int(self.unet.config.sample_size) * latents.downsampling(self.vae)
        self.image_channels = int(self.vae.config.in_channels)

    @property
    def device(self) -> torch.device:
        return torch.device(self.unet.device)

    def encode_images(self, images: Tensor) -> Tensor:
        return latents.encode(images.to(self.device), self.vae)

    @torch.no_grad()
    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        """Text-encoder states ``(K, L, D)`` of one prompt a class, padded to the tokenizer's length."""
        prompts = [self.prompt_template.replace("{}", name) for name in classes]
        states = []
        for start in range(0, len(prompts), 64):
            tokens = self.tokenizer(
                prompts[start : start + 64],
                padding="max_length",
                max_length=self.tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            )
            states.append(self.text_encoder(tokens.input_ids.to(self.device))[0])
        return torch.cat(states)

    def predict(self, x_t: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        dtype = self.unet.dtype
        output: Tensor = self.unet(x_t.to(dtype), timestep, encoder_hidden_states=condition.to(dtype)).sample
        return output
