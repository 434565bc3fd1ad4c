"""Stable Diffusion 1.x and 2.x: noise or velocity prediction in a latent space, one text encoder."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families.prompted import PromptedDenoiser, by_name


class StableDiffusionDenoiser(PromptedDenoiser):
    """A Stable-Diffusion-type pipeline.

    Args:
        pipeline: A ``StableDiffusionPipeline``.
        image_size: Height and width of the images, in pixels; default: that of the training.

    Raises:
        ValueError: See `PromptedDenoiser`.
    """

    def __init__(self, pipeline: Any, *, image_size: int | None = None) -> None:
        super().__init__(
            pipeline,
            network="unet",
            text_parts=("text_encoder", "tokenizer"),
            image_size=image_size,
        )

    def encode_prompts(self, prompts: list[str]) -> dict[str, Tensor]:
        states, _ = self.pipeline.encode_prompt(prompts, self.device, 1, do_classifier_free_guidance=False)
        return {"states": states}

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        x_t = x_t.to(self.network.dtype)
        output: Tensor = self.network(x_t, time, encoder_hidden_states=by_name(condition)["states"]).sample
        return output
