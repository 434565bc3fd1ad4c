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
from torch.distributions import Normal, kl_divergence
from vl_core.noise import gaussian, make_keys
from vl_diffusion import DiffusionClassifier, Exhaustive, Racing, Shortlist, Staged
from vl_diffusion.models.schedule import NoiseSchedule

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
    """The time steps of an image: one in each of `count` whole shares of 1,000."""
    share = 1000 // count
    return [share // 2 + i * share for i in range(count)]


def noise(image_id: int, draw: int, shape: Sequence[int]) -> Tensor:
    """The noise that belongs to an image's draw, whatever the prompt."""
    return gaussian(make_keys(SEED, torch.tensor([image_id]), torch.tensor([draw])), shape)


def staged_search(
    error: Any, prompts: int, n_samples: Sequence[int], to_keep: Sequence[int], trials: int = 1
) -> tuple[int, dict]:
    """The prompt found, and every prompt's errors by time step and trial."""
    most = max(n_samples)
    remaining = list(range(prompts))
    errors: dict[int, dict[tuple[int, int], float]] = {prompt: {} for prompt in remaining}
    for samples, keep in zip(n_samples, to_keep, strict=True):
        stride = most // samples
        for prompt in remaining:
            for i in range(samples):
                for trial in range(trials):
                    place = stride // 2 + i * stride, trial
                    if place not in errors[prompt]:
                        errors[prompt][place] = error(prompt, *place)
        means = {prompt: sum(errors[prompt].values()) / len(errors[prompt]) for prompt in remaining}
        remaining = sorted(remaining, key=means.__getitem__)[:keep]
    return remaining[0], errors


def assert_same(result: Any, i: int, prediction: int, errors: dict[int, dict[Any, float]]) -> None:
    assert result.predictions[i] == prediction
    assert result.evaluations[i].tolist() == [len(of_prompt) for of_prompt in errors.values()]
    means = [sum(of_prompt.values()) / len(of_prompt) for of_prompt in errors.values()]
    np.testing.assert_allclose(result.errors[i], means, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("n_samples", "to_keep", "count", "trials"),
    [
        pytest.param((2, 10), (3, 1), 4, 1, id="two"),
        pytest.param((4, 10, 20), (4, 2, 1), 2, 1, id="three"),
        # Neither do the stages divide the last one, nor does that divide 1,000.
        pytest.param((4, 9, 22), (4, 2, 1), 2, 1, id="no-divisors"),
        pytest.param((2, 5), (3, 1), 2, 3, id="trials"),
        pytest.param((2, 10), (3, 1), 50, 1, id="two-of-many", marks=pytest.mark.slow),
        pytest.param((4, 10, 20), (4, 2, 1), 10, 1, id="three-of-many", marks=pytest.mark.slow),
        pytest.param((20, 300), (2, 1), 2, 1, id="many-draws", marks=pytest.mark.slow),
    ],
)
def test_the_literal_stages_are_those_of_the_paper(n_samples, to_keep, count, trials, tiny):
    pipeline = tiny.stable_diffusion()
    images = make_images(count)
    search = Staged(n_samples, to_keep, "literal", trials=trials)
    result = DiffusionClassifier(pipeline, CLASSES, search=search, seed=SEED).classify(images, image_ids=range(count))
    states = []
    for name in CLASSES:
        ids = pipeline.tokenizer(f"a photo of a {name}.", padding="max_length", max_length=77, return_tensors="pt")
        states.append(pipeline.text_encoder(ids.input_ids).last_hidden_state)
    alphas_cumprod = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    steps = evenly_spaced(max(n_samples))
    for i, image in enumerate(images):
        latent = pipeline.vae.encode(image[None] * 2 - 1).latent_dist.mean * pipeline.vae.config.scaling_factor

        def error(prompt: int, place: int, trial: int, i: int = i, latent: Tensor = latent) -> float:
            epsilon = noise(i, place * trials + trial, latent.shape[1:])
            level = alphas_cumprod[steps[place]]
            x_t = level**0.5 * latent + (1 - level) ** 0.5 * epsilon
            predicted = pipeline.unet(x_t, steps[place], encoder_hidden_states=states[prompt]).sample
            return float((predicted - epsilon).square().mean())

        assert_same(result, i, *staged_search(error, len(CLASSES), n_samples, to_keep, trials))
    # Survivors have seen more draws than the last stage's flag says where the grids do not fit into one another.
    assert result.evaluations.sum(1).tolist() == [search.budget(len(CLASSES))] * count


@pytest.mark.parametrize(("draws", "last"), [(300, 898), (600, 599), (999, 998), (501, 500), (1000, 999)])
def test_the_stride_is_whole_and_the_end_is_cut(draws, last):
    schedule = NoiseSchedule.variance_preserving(np.linspace(0.999, 0.001, 1000))
    steps = schedule.steps(draws, strided=True)
    stride = 1000 // draws
    assert steps.tolist() == list(range(1000))[stride // 2 :: stride][:draws]
    assert (len(steps), steps[-1]) == (draws, last)


def test_more_steps_than_the_schedule_has_are_refused():
    schedule = NoiseSchedule.variance_preserving(np.linspace(0.999, 0.001, 10))
    assert schedule.steps(3, (0.2, 0.9), strided=True).tolist() == [3, 5, 7]
    with pytest.raises(ValueError, match=r"draws must be at most 10, .* got 11; use several trials"):
        schedule.steps(11, strided=True)


@torch.no_grad()
@pytest.mark.parametrize("sharing", ["timesteps", "images"])
@pytest.mark.parametrize("objective", ["l2", "l2+vlb"])
def test_shared_noise_is_that_of_a_plain_loop(sharing, objective, tiny):
    """The published options for DiT: one noise for all time steps or for all images, and L2 plus the bound in bits."""
    pipeline, draws, trials, images = tiny.dit_pipeline(), 3, 2, make_images(2)
    labels = [f"class {label}" for label in range(10)]
    classifier = DiffusionClassifier(
        pipeline,
        labels,
        search=Exhaustive(draws, grid="literal", trials=trials),
        noise=sharing,
        objective=objective,
        seed=SEED,
    )
    result = classifier.classify(images, image_ids=[5, 6])
    betas = np.linspace(1e-4, 0.02, 1000)
    alphas_cumprod = np.cumprod(1 - betas)
    for i, image in enumerate(images):
        latent = pipeline.vae.encode(image[None] * 2 - 1).latent_dist.mean * pipeline.vae.config.scaling_factor
        for label in range(10):
            found = []
            for place, step in enumerate(evenly_spaced(draws)):
                for trial in range(trials):
                    draw = trial if sharing == "timesteps" else place * trials + trial
                    epsilon = noise(0 if sharing == "images" else 5 + i, draw, latent.shape[1:])
                    power, before = alphas_cumprod[step], alphas_cumprod[step - 1]
                    x_t = power**0.5 * latent + (1 - power) ** 0.5 * epsilon
                    output = pipeline.transformer(x_t, torch.tensor([step]), class_labels=torch.tensor([label])).sample
                    predicted, between = output.double().chunk(2, 1)
                    error = float((predicted - epsilon).square().mean())
                    if objective == "l2+vlb":
                        error += divergence(latent, x_t, predicted, between, power, before, betas[step])
                    found.append(error)
            np.testing.assert_allclose(result.errors[i, label], np.mean(found), rtol=1e-5)
    assert result.evaluations.tolist() == [[draws * trials] * 10] * 2
    # Each trial has a noise of its own.
    assert (result.standard_errors > 0).all()


def divergence(x_0, x_t, epsilon, between, power, before, beta):
    """Mean bits of the Gaussian divergence of the reverse step, written out for each of the two distributions."""
    variance = beta * (1 - before) / (1 - power)
    log_variance = (between + 1) / 2 * np.log(beta) + (1 - between) / 2 * np.log(variance)

    def mean(image):
        return before**0.5 * beta / (1 - power) * image + (1 - beta) ** 0.5 * (1 - before) / (1 - power) * x_t

    guess = (x_t - (1 - power) ** 0.5 * epsilon) / power**0.5
    own = Normal(mean(x_0).double(), torch.full_like(log_variance, variance**0.5))
    model = Normal(mean(guess).double(), (log_variance / 2).exp())
    return float(kl_divergence(own, model).mean()) / np.log(2)


def test_a_race_refuses_one_noise_for_all_time_steps(tiny):
    pipeline = tiny.dit_pipeline()
    with pytest.raises(ValueError, match="needs independent draws, got 'timesteps'; use Staged or Exhaustive"):
        DiffusionClassifier(pipeline, CLASSES[:2], search=Shortlist(Racing(8)), noise="timesteps")
    with pytest.raises(ValueError, match="noise must be one of independent, timesteps, images, got 'same'"):
        DiffusionClassifier(pipeline, CLASSES[:2], search=Exhaustive(2), noise="same")


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
