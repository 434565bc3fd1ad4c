"""Flux: a flow-matching transformer over 2x2 blocks of the latent, with a pooled CLIP vector and T5's states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vl_diffusion.models import _latents as latents
from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families.prompted import PromptedDenoiser, by_name, require_parts
from vl_diffusion.models.schedule import NoiseSchedule


class FluxDenoiser(PromptedDenoiser):
    """A Flux pipeline, with its guidance and prompt length.

    A pipeline passed directly to `DiffusionClassifier` or `match` has the defaults.

    As in sampling, the network gets the noise level in [0, 1] and multiplies it by 1,000 in its own precision, which
    rounds in bfloat16.

    Args:
        pipeline: A ``FluxPipeline``.
        image_size: Height and width of the images, in pixels; default: the training resolution of the autoencoder,
            since the network's configuration has none.
        guidance: Guidance scale for a guidance-distilled network (Flux.1 dev). 1 is the plain conditional prediction,
            whose error classification compares; images are usually sampled with 3.5.
        max_sequence_length: Number of tokens that T5's states are padded to, at most 512; default: as in training, 512
            for a guidance-distilled network and 256 for others (Flux.1 schnell).

    Raises:
        ValueError: If `max_sequence_length` is out of range; see also `PromptedDenoiser`.

    Example:
        .. code-block:: python

            denoiser = FluxDenoiser(pipeline, guidance=3.5)
            classifier = DiffusionClassifier(denoiser, ["cat", "dog"])
    """

    def __init__(
        self,
        pipeline: Any,
        *,
        image_size: int | None = None,
        guidance: float = 1.0,
        max_sequence_length: int | None = None,
    ) -> None:
        require_parts(pipeline, "vae")
        super().__init__(
            pipeline,
            network="transformer",
            text_parts=("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
            image_size=latents.sample_size(pipeline.vae) if image_size is None else image_size,
            packing=2,
            flow=True,
        )
        self.schedule = NoiseSchedule.flow_matching(self.schedule.sigma, scale=1.0)
        self.guidance = guidance
        if max_sequence_length is None:
            max_sequence_length = 512 if self.network.config.guidance_embeds else 256
        if not 1 <= max_sequence_length <= 512:
            raise ValueError(f"max_sequence_length must be in 1 ... 512, got {max_sequence_length}")
        self.max_sequence_length = max_sequence_length

    def encode_prompts(self, prompts: list[str]) -> dict[str, Tensor]:
        states, pooled, _ = self.pipeline.encode_prompt(
            prompts, device=self.device, max_sequence_length=self.max_sequence_length
        )
        return {"states": states, "pooled": pooled}

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        text = by_name(condition)
        batch, _, height, width = x_t.shape
        guidance = None
        if self.network.config.guidance_embeds:
            guidance = torch.full((batch,), self.guidance, device=x_t.device)
        output: Tensor = self.network(
            hidden_states=pack(x_t.to(self.network.dtype)),
            timestep=time,
            guidance=guidance,
            pooled_projections=text["pooled"],
            encoder_hidden_states=text["states"],
            txt_ids=torch.zeros(text["states"].shape[1], 3, device=x_t.device),
            img_ids=positions(height // 2, width // 2, x_t.device),
        ).sample
        return unpack(output, height, width)


def pack(latent: Tensor) -> Tensor:
    """Pack ``(B, c, h, w)`` to ``(B, h/2 * w/2, 4c)``: one row per 2x2 block, channels outermost."""
    batch, channels, height, width = latent.shape
    blocks = latent.view(batch, channels, height // 2, 2, width // 2, 2)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, 4 * channels)


def unpack(rows: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `pack`: ``(B, h/2 * w/2, 4c)`` to ``(B, c, h, w)``."""
    blocks = rows.view(len(rows), height // 2, width // 2, -1, 2, 2)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(len(rows), -1, height, width)


def positions(rows: int, columns: int, device: torch.device) -> Tensor:
    """Position of each block, ``(rows * columns, 3)``: 0, its row and its column."""
    row, column = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], -1).reshape(-1, 3).float()
