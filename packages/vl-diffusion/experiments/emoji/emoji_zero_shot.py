"""The emoji diffusion model as a classifier, in a plain loop: the name of least denoising error.

Written from the definition (Li et al., 2023, "Your Diffusion Model is Secretly a Zero-Shot Classifier"), with all draws
for all candidates and no search, as a reference for the package's own classifier.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from emoji_images import tokenize
from torch import Tensor
from vl_core.kernels.noise_evaluation import diffuse, noise_error
from vl_core.noise import make_keys


def spaced_timesteps(draws: int, first: int, last: int) -> Tensor:
    """Return the midpoints of ``draws`` equal parts of ``first..last``, int64 ``(draws,)``."""
    return (first + (last - first) * (torch.arange(draws) + 0.5) / draws).long()


@torch.no_grad()
def denoising_errors(
    pipeline: Any,
    images: Tensor,
    choices: list[list[str]],
    timesteps: Tensor,
    *,
    space: Literal["epsilon", "velocity"] = "epsilon",
    seed: int = 0,
    autocast: bool = False,
) -> Tensor:
    """Mean squared errors of the prediction, ``(N, D, K)``, for every image, draw and candidate.

    All candidates share a draw's noise, so that they differ in the name only.

    Args:
        pipeline: Anything with ``tokenizer``, ``text_encoder``, ``transformer`` and ``scheduler`` whose model predicts
            the velocity of pixels.
        images: ``(N, C, H, W)`` in -1..1.
        choices: K names for each image.
        timesteps: int64 ``(D,)``, one for each draw.
        space: Quantity whose error is measured: the noise, or the velocity, which the model was trained on and
            which weights strong noise more.
        seed: Seed of the noise, which depends on it, the image's index and the draw.
        autocast: Compute the network in bfloat16.
    """
    level = pipeline.scheduler.alphas_cumprod.double()[timesteps]
    alpha, sigma = level.sqrt().float(), (1 - level).sqrt().float()
    names = sorted({name for row in choices for name in row})
    place = {name: number for number, name in enumerate(names)}
    tokens, mask = tokenize(pipeline.tokenizer, names)
    states = pipeline.text_encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
    draws, count = len(timesteps), len(choices[0])
    errors = torch.empty(len(images), draws, count)
    for number, (x0, row) in enumerate(zip(images, choices, strict=True)):
        chosen = torch.tensor([place[name] for name in row])
        longest = int(mask[chosen].sum(1).max())
        keys, image = make_keys(seed, number, torch.arange(draws)), torch.zeros(draws, dtype=torch.int64)
        x_t = diffuse(x0[None], keys, alpha, sigma, image=image)
        # Candidates of one draw are adjacent.
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            velocity = pipeline.transformer(
                x_t.repeat_interleave(count, 0),
                encoder_hidden_states=states[chosen, :longest].repeat(draws, 1, 1),
                encoder_attention_mask=mask[chosen, :longest].repeat(draws, 1),
                timestep=timesteps.repeat_interleave(count),
            ).sample
        errors[number] = noise_error(
            velocity.float(),
            keys.repeat_interleave(count, 0),
            target="v_prediction",
            x0=x0[None],
            image=image.repeat_interleave(count),
            alpha=alpha.repeat_interleave(count),
            sigma=sigma.repeat_interleave(count),
            scale=alpha.repeat_interleave(count) if space == "epsilon" else None,
        ).view(draws, count)
    return errors


def named(errors: Tensor, choices: list[list[str]]) -> list[str]:
    """Return each image's name of smallest mean error, from `denoising_errors`."""
    return [row[int(best)] for row, best in zip(choices, errors.mean(1).argmin(1), strict=True)]
