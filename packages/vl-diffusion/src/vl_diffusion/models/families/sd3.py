"""Stable Diffusion 3 and 3.5: a flow-matching transformer with two CLIP encoders and, where it is loaded, T5."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families.prompted import PromptedDenoiser, by_name


class StableDiffusion3Denoiser(PromptedDenoiser):
    """A Stable Diffusion 3 pipeline.

    Without T5 (``text_encoder_3=None``) its states are zeros, as in sampling; the network was trained to bear it (Esser
    et al., 2024, section 5.3).

    Args:
        pipeline: A ``StableDiffusion3Pipeline``.
        image_size: Height and width of the images, in pixels; default: that of the training.

    Raises:
        ValueError: See `PromptedDenoiser`.
    """

    def __init__(self, pipeline: Any, *, image_size: int | None = None) -> None:
        super().__init__(
            pipeline,
            network="transformer",
            text_parts=("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
            image_size=image_size,
            flow=True,
        )
        if pipeline.text_encoder_3 is not None:
            pipeline.text_encoder_3.eval()

    def encode_prompts(self, prompts: list[str]) -> dict[str, Tensor]:
        states, _, pooled, _ = self.pipeline.encode_prompt(
            prompts, None, None, device=self.device, do_classifier_free_guidance=False
        )
        return {"states": states, "pooled": pooled}

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        text = by_name(condition)
        output: Tensor = self.network(
            hidden_states=x_t.to(self.network.dtype),
            timestep=time,
            encoder_hidden_states=text["states"],
            pooled_projections=text["pooled"],
        ).sample
        return output
