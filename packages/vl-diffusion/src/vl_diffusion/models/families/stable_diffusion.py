"""Stable Diffusion 1 to 3.5.

1.x and 2.x predict noise or velocity in a latent space, with one text encoder. XL has two text encoders, and the
image's size as a condition (Podell et al., 2023, section 2.2). 3 and 3.5 are flow-matching transformers with two CLIP
encoders and, where it is loaded, T5.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families.prompted import PromptedDenoiser, by_name, require_parts


class StableDiffusionDenoiser(PromptedDenoiser):
    """A Stable Diffusion 1.x or 2.x pipeline.

    Args:
        pipeline: A ``StableDiffusionPipeline``.
        image_size: Height and width of the images, in pixels; default: the training resolution.

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


class StableDiffusionXLDenoiser(PromptedDenoiser):
    """A Stable Diffusion XL base pipeline.

    The size conditioning describes an image that was not resized or cropped: original and target size are `image_size`,
    and the crop is at (0, 0).

    Args:
        pipeline: A ``StableDiffusionXLPipeline``.
        image_size: Height and width of the images, in pixels; default: the training resolution.

    Raises:
        ValueError: If it is a refiner; see also `PromptedDenoiser`.
    """

    def __init__(self, pipeline: Any, *, image_size: int | None = None) -> None:
        require_parts(pipeline, "unet")
        if pipeline.text_encoder is None or getattr(pipeline.config, "requires_aesthetics_score", False):
            raise ValueError(
                "pipeline must be a Stable Diffusion XL base model, got a refiner, which only removes the last noise; "
                "use the base model"
            )
        if pipeline.unet.config.addition_embed_type != "text_time":
            kind = pipeline.unet.config.addition_embed_type
            raise ValueError(f"addition_embed_type of the network must be 'text_time' as in SDXL, got {kind!r}")
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
        """Zeros, as in training of the base model; the empty prompt if the pipeline is configured so."""
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


class StableDiffusion3Denoiser(PromptedDenoiser):
    """A Stable Diffusion 3 pipeline.

    Without T5 (``text_encoder_3=None``) its states are zeros, as in sampling; the network was trained with T5 dropout
    (Esser et al., 2024, section 5.3).

    Args:
        pipeline: A ``StableDiffusion3Pipeline``.
        image_size: Height and width of the images, in pixels; default: the training resolution.

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
