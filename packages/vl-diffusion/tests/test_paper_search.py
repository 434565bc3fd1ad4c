"""The searches as the paper states them, in plain loops of one evaluation each: same predictions, errors and counts.

Li et al. (2023), section 3.3 and appendix: time steps are evenly spaced; each stage evaluates every remaining prompt on
a coarser grid of them, without those that it has seen, and keeps the prompts with the smallest mean error so far. The
grids of two stages need not contain one another. Nothing but the noise comes from the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from vl_core.noise import gaussian, make_keys
from vl_diffusion import DiffusionClassifier, Exhaustive, Staged

CLASSES = ("cat", "dog", "bird", "frog", "ship", "truck")
SEED = 7


def make_images(count: int) -> list[Tensor]:
    """Images of 32x32: by turns noise, and smooth patches of color."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for i in range(count):
        values = torch.rand(1, 3, *((32, 32) if i % 2 else (4, 4)), generator=generator)
        made.append(torch.nn.functional.interpolate(values, (32, 32), mode="bilinear")[0])
    return made


def evenly_spaced(count: int) -> list[int]:
    """The time steps of an image: the middles of equal shares of 1,000."""
    share = 1000 // count
    return [share // 2 + i * share for i in range(count)]


def noise(image_id: int, draw: int, shape: Sequence[int]) -> Tensor:
    """The noise that belongs to an image's draw, whatever the prompt."""
    return gaussian(make_keys(SEED, torch.tensor([image_id]), torch.tensor([draw])), shape)


def staged_search(error: Any, prompts: int, n_samples: Sequence[int], to_keep: Sequence[int]) -> tuple[int, dict]:
    """The prompt found, and every prompt's errors by draw."""
    most = max(n_samples)
    remaining = list(range(prompts))
    errors: dict[int, dict[int, float]] = {prompt: {} for prompt in remaining}
    for samples, keep in zip(n_samples, to_keep, strict=True):
        stride = most // samples
        for prompt in remaining:
            for draw in range(stride // 2, most, stride):
                if draw not in errors[prompt]:
                    errors[prompt][draw] = error(prompt, draw)
        means = {prompt: sum(errors[prompt].values()) / len(errors[prompt]) for prompt in remaining}
        remaining = sorted(remaining, key=means.__getitem__)[:keep]
    return remaining[0], errors


def assert_same(result: Any, i: int, prediction: int, errors: dict[int, dict[int, float]]) -> None:
    assert result.predictions[i] == prediction
    assert result.evaluations[i].tolist() == [len(of_prompt) for of_prompt in errors.values()]
    means = [sum(of_prompt.values()) / len(of_prompt) for of_prompt in errors.values()]
    np.testing.assert_allclose(result.errors[i], means, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("n_samples", "to_keep", "count"),
    [
        pytest.param((2, 10), (3, 1), 4, id="two"),
        pytest.param((4, 10, 20), (4, 2, 1), 4, id="three"),
        pytest.param((2, 10), (3, 1), 50, id="two-of-many", marks=pytest.mark.slow),
        pytest.param((4, 10, 20), (4, 2, 1), 10, id="three-of-many", marks=pytest.mark.slow),
    ],
)
def test_the_literal_stages_are_those_of_the_paper(n_samples, to_keep, count, tiny):
    pipeline = tiny.stable_diffusion()
    images = make_images(count)
    search = Staged(n_samples, to_keep, "literal")
    result = DiffusionClassifier(pipeline, CLASSES, search=search, seed=SEED).classify(images, image_ids=range(count))
    states = []
    for name in CLASSES:
        ids = pipeline.tokenizer(f"a photo of a {name}.", padding="max_length", max_length=77, return_tensors="pt")
        states.append(pipeline.text_encoder(ids.input_ids).last_hidden_state)
    alphas_cumprod = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    steps = evenly_spaced(max(n_samples))
    for i, image in enumerate(images):
        latent = pipeline.vae.encode(image[None] * 2 - 1).latent_dist.mean * pipeline.vae.config.scaling_factor

        def error(prompt: int, draw: int, i: int = i, latent: Tensor = latent) -> float:
            epsilon = noise(i, draw, latent.shape[1:])
            level = alphas_cumprod[steps[draw]]
            x_t = level**0.5 * latent + (1 - level) ** 0.5 * epsilon
            predicted = pipeline.unet(x_t, steps[draw], encoder_hidden_states=states[prompt]).sample
            return float((predicted - epsilon).square().mean())

        assert_same(result, i, *staged_search(error, len(CLASSES), n_samples, to_keep))
    # Survivors have seen more draws than the last stage's flag says where the grids do not fit into one another.
    assert result.evaluations.sum(1).tolist() == [search.budget(len(CLASSES))] * count


@torch.no_grad()
@pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_exhaustive_dit_is_every_class_on_every_time_step(count, tiny):
    pipeline, draws, images = tiny.dit_pipeline(), 4, make_images(count)
    labels = [f"class {label}" for label in range(10)]
    result = DiffusionClassifier(pipeline, labels, search=Exhaustive(draws), seed=SEED).classify(
        images, image_ids=range(count)
    )
    alphas_cumprod = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    for i, image in enumerate(images):
        latent = pipeline.vae.encode(image[None] * 2 - 1).latent_dist.mean * pipeline.vae.config.scaling_factor
        errors: dict[int, dict[int, float]] = {label: {} for label in range(10)}
        for label in range(10):
            for draw, step in enumerate(evenly_spaced(draws)):
                epsilon = noise(i, draw, latent.shape[1:])
                x_t = alphas_cumprod[step] ** 0.5 * latent + (1 - alphas_cumprod[step]) ** 0.5 * epsilon
                output = pipeline.transformer(x_t, torch.tensor([step]), class_labels=torch.tensor([label])).sample
                errors[label][draw] = float((output.chunk(2, 1)[0] - epsilon).square().mean())
        assert_same(result, i, min(errors, key=lambda label: sum(errors[label].values())), errors)
