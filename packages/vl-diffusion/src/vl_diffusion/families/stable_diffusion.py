"""Stable Diffusion 1.x and 2.x: noise or velocity prediction in a latent space, one text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vl_diffusion import latents
from vl_diffusion.denoiser import Condition
from vl_diffusion.schedule import NoiseSchedule


class StableDiffusionDenoiser:
    """A Stable-Diffusion-type pipeline.

    Args:
        pipeline: Anything with ``unet``, ``vae``, ``text_encoder``, ``tokenizer`` and ``scheduler``.
    """

    class_names: tuple[str, ...] | None = None
    takes_prompts = True

    def __init__(self, pipeline: Any) -> None:
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
        """Text-encoder states ``(K, L, D)`` of K prompts, padded to the tokenizer's length."""
        states = []
        for start in range(0, len(classes), 64):
            tokens = self.tokenizer(
                list(classes[start : start + 64]),
                padding="max_length",
                max_length=self.tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            )
            states.append(self.text_encoder(tokens.input_ids.to(self.device))[0])
        return torch.cat(states)

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        assert isinstance(condition, Tensor)
        dtype = self.unet.dtype
        output: Tensor = self.unet(x_t.to(dtype), time, encoder_hidden_states=condition.to(dtype)).sample
        return output
