"""Stable Diffusion XL: two text encoders, and the image's size as a condition (Podell et al., 2023, section 2.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families.prompted import PromptedDenoiser, by_name, require_parts


class StableDiffusionXLDenoiser(PromptedDenoiser):
    """A Stable Diffusion XL base pipeline.

    The network is told that the image was of the model's own size and was not cropped: original and target size
    `image_size`, crop at (0, 0).

    Args:
        pipeline: A ``StableDiffusionXLPipeline``.
        image_size: Height and width of the images, in pixels; default: that of the training.

    Raises:
        ValueError: If it is a refiner; see also `PromptedDenoiser`.
    """

    def __init__(self, pipeline: Any, *, image_size: int | None = None) -> None:
        require_parts(pipeline, "unet")
        if pipeline.text_encoder is None or getattr(pipeline.config, "requires_aesthetics_score", False):
            raise ValueError(
                "this Stable Diffusion XL pipeline has the parts of the refiner, which only finishes what the base "
                "model began; use the base model"
            )
        if pipeline.unet.config.addition_embed_type != "text_time":
            kind = pipeline.unet.config.addition_embed_type
            raise ValueError(f"the network must take addition_embed_type 'text_time' as SDXL does, got {kind!r}")
        super().__init__(
            pipeline,
            network="unet",
            text_parts=("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
            image_size=image_size,
        )

    def encode_prompts(self, prompts: list[str]) -> dict[str, Tensor]:
        states, _, pooled, _ = self.pipeline.encode_prompt(
            prompts, device=self.device, do_classifier_free_guidance=False
        )
        return {"states": states, "pooled": pooled}

    def encode_unconditional(self) -> Condition:
        """Zeros, which the base model was trained with; the empty prompt for a pipeline that is configured so."""
        empty = by_name(self.encode_classes([""]))
        if not self.pipeline.config.get("force_zeros_for_empty_prompt", True):
            return empty
        return {name: torch.zeros_like(value) for name, value in empty.items()}

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        text, x_t = by_name(condition), x_t.to(self.network.dtype)
        size = float(self.image_size)
        time_ids = x_t.new_tensor([size, size, 0, 0, size, size]).expand(len(x_t), 6)
        output: Tensor = self.network(
            x_t,
            time,
            encoder_hidden_states=text["states"],
            added_cond_kwargs={"text_embeds": text["pooled"], "time_ids": time_ids},
        ).sample
        return output
