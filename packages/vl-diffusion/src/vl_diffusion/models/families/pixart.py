"""PixArt-alpha and -sigma: transformers conditioned on T5 states, on latents or, without a VAE, on pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families.prompted import PromptedDenoiser, by_name


class PixArtDenoiser(PromptedDenoiser):
    """A PixArt pipeline; without a ``vae`` it denoises pixels.

    Networks trained on many resolutions get the image's resolution and aspect ratio 1 (Chen et al., 2023, section 2.4).
    Prompts are lower-cased, as in the pipeline.

    Args:
        pipeline: A ``PixArtAlphaPipeline`` or ``PixArtSigmaPipeline``.
        image_size: Height and width of the images, in pixels; default: the training resolution.

    Raises:
        ValueError: See `PromptedDenoiser`.
    """

    def __init__(self, pipeline: Any, *, image_size: int | None = None) -> None:
        super().__init__(
            pipeline,
            network="transformer",
            text_parts=("text_encoder", "tokenizer"),
            image_size=image_size,
        )

    def encode_classes(self, classes: Sequence[str]) -> Condition:
        text = by_name(super().encode_classes(classes))
        # Drop padding that all prompts share: it is masked in every attention and only costs time.
        used = int(text["mask"].any(0).nonzero().max()) + 1
        return {name: value[:, :used].contiguous() for name, value in text.items()}

    def encode_prompts(self, prompts: list[str]) -> dict[str, Tensor]:
        states, mask, _, _ = self.pipeline.encode_prompt(prompts, do_classifier_free_guidance=False, device=self.device)
        return {"states": states, "mask": mask}

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        text, x_t = by_name(condition), x_t.to(self.network.dtype)
        resolution = aspect_ratio = None
        if self.network.use_additional_conditions:
            resolution = x_t.new_full((len(x_t), 2), float(self.image_size))
            aspect_ratio = torch.ones_like(resolution[:, :1])
        output: Tensor = self.network(
            x_t,
            encoder_hidden_states=text["states"],
            encoder_attention_mask=text["mask"],
            timestep=time,
            added_cond_kwargs={"resolution": resolution, "aspect_ratio": aspect_ratio},
        ).sample
        return output
