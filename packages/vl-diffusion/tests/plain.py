"""Each family evaluated by hand, one image, draw and prompt at a time, as the documentation of its pipeline says.

Nothing here comes from the package: the noise levels are those of the published formulas in double precision, prompts
are tokenized here, and the network is called here. The noise alone is `vl_core`'s, under the keys that the package
promises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vl_core.noise import gaussian, make_keys

Network = Callable[[Any, Tensor, int, float, str], Tensor]


def levels(scheduler: Any, step: int) -> tuple[float, float]:
    """Signal and noise level of a time step."""
    config = scheduler.config
    if "Flow" in type(scheduler).__name__:
        sigma = (step + 1) / 1000
        shift = 1.0 if config.use_dynamic_shifting else config.shift
        sigma = shift * sigma / (1 + (shift - 1) * sigma)
        return 1 - sigma, sigma
    if config.beta_schedule == "scaled_linear":
        betas = np.linspace(config.beta_start**0.5, config.beta_end**0.5, 1000) ** 2
    elif config.beta_schedule == "linear":
        betas = np.linspace(config.beta_start, config.beta_end, 1000)
    elif config.beta_schedule == "squaredcos_cap_v2":
        signal = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - signal[1:] / signal[:-1], 0.999)
    else:
        raise ValueError(f"no formula here for a schedule {config.beta_schedule}")
    power = np.prod(1 - betas[: step + 1])
    return float(power**0.5), float((1 - power) ** 0.5)


def latent(pipeline: Any, image: Tensor) -> Tensor:
    """Latent of one image ``(1, C, H, W)`` in [0, 1]."""
    vae = getattr(pipeline, "vae", None)
    if vae is None:
        return image * 2 - 1
    mean = vae.encode(image * 2 - 1).latent_dist.mean
    return (mean - (vae.config.shift_factor or 0)) * vae.config.scaling_factor


def tokens(tokenizer: Any, prompt: str, length: int) -> Any:
    return tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt")


def stable_diffusion(pipe: Any, x_t: Tensor, step: int, sigma: float, prompt: str) -> Tensor:
    states = pipe.text_encoder(tokens(pipe.tokenizer, prompt, 77).input_ids).last_hidden_state
    return pipe.unet(x_t, step, encoder_hidden_states=states).sample


def stable_diffusion_xl(pipe: Any, x_t: Tensor, step: int, sigma: float, prompt: str) -> Tensor:
    ids = tokens(pipe.tokenizer, prompt, 77).input_ids
    first = pipe.text_encoder(ids, output_hidden_states=True)
    second = pipe.text_encoder_2(ids, output_hidden_states=True)
    size = float(2 * x_t.shape[-1])
    return pipe.unet(
        x_t,
        step,
        encoder_hidden_states=torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1),
        added_cond_kwargs={
            "text_embeds": second.text_embeds,
            "time_ids": torch.tensor([[size, size, 0.0, 0.0, size, size]]),
        },
    ).sample


def stable_diffusion_3(pipe: Any, x_t: Tensor, step: int, sigma: float, prompt: str) -> Tensor:
    ids = tokens(pipe.tokenizer, prompt, 77).input_ids
    clip = [encoder(ids, output_hidden_states=True) for encoder in (pipe.text_encoder, pipe.text_encoder_2)]
    t5 = torch.zeros(1, 256, 64)
    if pipe.text_encoder_3 is not None:
        t5 = pipe.text_encoder_3(tokens(pipe.tokenizer_3, prompt, 256).input_ids).last_hidden_state
    return pipe.transformer(
        hidden_states=x_t,
        timestep=torch.tensor([1000 * sigma]),
        encoder_hidden_states=torch.cat([torch.cat([of.hidden_states[-2] for of in clip], -1), t5], 1),
        pooled_projections=torch.cat([of.text_embeds for of in clip], -1),
    ).sample


def flux(pipe: Any, x_t: Tensor, step: int, sigma: float, prompt: str) -> Tensor:
    length = 512 if pipe.transformer.config.guidance_embeds else 256
    _, channels, height, width = x_t.shape
    blocks = [(row, column) for row in range(height // 2) for column in range(width // 2)]
    packed = [x_t[0, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten() for i, j in blocks]
    output = pipe.transformer(
        hidden_states=torch.stack(packed)[None],
        timestep=torch.tensor([sigma]),
        guidance=torch.tensor([1.0]) if pipe.transformer.config.guidance_embeds else None,
        pooled_projections=pipe.text_encoder(tokens(pipe.tokenizer, prompt, 77).input_ids).pooler_output,
        encoder_hidden_states=pipe.text_encoder_2(tokens(pipe.tokenizer_2, prompt, length).input_ids).last_hidden_state,
        txt_ids=torch.zeros(length, 3),
        img_ids=torch.tensor([[0.0, i, j] for i, j in blocks]),
    ).sample
    unpacked = torch.empty_like(x_t)
    for values, (i, j) in zip(output[0], blocks, strict=True):
        unpacked[0, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = values.view(channels, 2, 2)
    return unpacked


def pixart(pipe: Any, x_t: Tensor, step: int, sigma: float, prompt: str) -> Tensor:
    text = tokens(pipe.tokenizer, prompt.lower(), 120)
    states = pipe.text_encoder(text.input_ids, attention_mask=text.attention_mask).last_hidden_state
    size = float(2 * x_t.shape[-1])
    given = pipe.transformer.config.use_additional_conditions
    return pipe.transformer(
        x_t,
        encoder_hidden_states=states,
        encoder_attention_mask=text.attention_mask,
        timestep=torch.tensor([step]),
        added_cond_kwargs={
            "resolution": torch.tensor([[size, size]]) if given else None,
            "aspect_ratio": torch.tensor([[1.0]]) if given else None,
        },
    ).sample


def dit(pipe: Any, x_t: Tensor, step: int, sigma: float, label: str) -> Tensor:
    return pipe.transformer(x_t, torch.tensor([step]), class_labels=torch.tensor([int(label)])).sample


def unet(pipe: Any, x_t: Tensor, step: int, sigma: float, label: str) -> Tensor:
    return pipe.unet(x_t, step, class_labels=torch.tensor([int(label)])).sample


def truth(x0: Tensor, noise: Tensor, alpha: float, sigma: float) -> dict[str, Tensor]:
    """Each thing that a network may predict, by definition."""
    return {
        "epsilon": noise,
        "v_prediction": alpha * noise - sigma * x0,
        "flow_prediction": noise - x0,
        "sample": x0,
    }


def estimate(native: str, output: Tensor, x_t: Tensor, alpha: float, sigma: float) -> dict[str, Tensor]:
    """The same from what a network said: solved for noise and image, and put together again."""
    if native == "epsilon":
        noise, x0 = output, (x_t - sigma * output) / alpha
    elif native == "v_prediction":  # alpha^2 + sigma^2 = 1
        noise, x0 = alpha * output + sigma * x_t, alpha * x_t - sigma * output
    elif native == "flow_prediction":  # alpha + sigma = 1
        noise, x0 = x_t + (1 - sigma) * output, x_t - sigma * output
    else:
        raise ValueError(f"no formula here for a network that predicts {native}")
    return truth(x0, noise, alpha, sigma)


@torch.no_grad()
def errors(
    network: Network,
    pipeline: Any,
    native: str,
    image: Tensor,
    image_id: int,
    prompts: Sequence[str],
    steps: Sequence[int],
    *,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Mean squared errors ``(prompts, draws)`` of each quantity."""
    x0 = latent(pipeline, image)
    found: dict[str, np.ndarray] = {name: np.zeros((len(prompts), len(steps))) for name in truth(x0, x0, 1, 1)}
    for k, prompt in enumerate(prompts):
        for draw, step in enumerate(steps):
            noise = gaussian(make_keys(seed, torch.tensor([image_id]), torch.tensor([draw])), x0.shape[1:])
            alpha, sigma = levels(pipeline.scheduler, step)
            x_t = alpha * x0 + sigma * noise
            output = network(pipeline, x_t, step, sigma, prompt)[:, : x0.shape[1]]
            estimates = estimate(native, output, x_t, alpha, sigma)
            for name, true in truth(x0, noise, alpha, sigma).items():
                found[name][k, draw] = (estimates[name] - true).double().square().mean()
    return found
