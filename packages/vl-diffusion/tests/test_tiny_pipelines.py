"""The tiny models are what they stand for: they save, load back equal to rounding, and answer to class or prompt."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DModel,
)
from torch import Tensor

pytestmark = pytest.mark.usefixtures("_no_gradient")


@pytest.fixture
def _no_gradient() -> Any:
    with torch.no_grad():
        yield


def noisy(channels: int, size: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1))


def prompt_embedding(pipeline: StableDiffusionPipeline, prompt: str) -> Tensor:
    tokens = pipeline.tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt")
    return pipeline.text_encoder(tokens.input_ids).last_hidden_state


def text_prediction(pipeline: StableDiffusionPipeline, prompt: str) -> Tensor:
    x_t = noisy(4, 16)
    return pipeline.unet(x_t, 500, encoder_hidden_states=prompt_embedding(pipeline, prompt)).sample


def class_prediction(model: DiTTransformer2DModel | UNet2DModel, label: int) -> Tensor:
    x_t = noisy(model.config.in_channels, model.config.sample_size)
    return model(x_t, timestep=torch.tensor([500]), class_labels=torch.tensor([label])).sample


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_stable_diffusion_loads_back_equal(
    tiny: ModuleType, request: pytest.FixtureRequest, prediction_type: str
) -> None:
    folder = request.getfixturevalue({"epsilon": "sd_folder", "v_prediction": "sd_v_folder"}[prediction_type])
    built = tiny.stable_diffusion(prediction_type=prediction_type)
    loaded = StableDiffusionPipeline.from_pretrained(folder)
    image = noisy(3, 32)
    assert loaded.scheduler.config.prediction_type == prediction_type
    torch.testing.assert_close(text_prediction(loaded, "a dog"), text_prediction(built, "a dog"))
    latent = loaded.vae.encode(image).latent_dist.mean
    torch.testing.assert_close(latent, built.vae.encode(image).latent_dist.mean)
    assert latent.shape == (1, 4, 16, 16)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_stable_diffusion_answers_to_the_prompt(tiny: ModuleType, prediction_type: str) -> None:
    pipeline = tiny.stable_diffusion(prediction_type=prediction_type)
    cat, dog = (text_prediction(pipeline, f"a photo of a {name}.") for name in ("cat", "dog"))
    assert (cat - dog).abs().max() > 1e-2


def test_tokenizer_spells_any_printable_prompt(tiny: ModuleType) -> None:
    tokens = tiny.tokenizer()("T-shirt/top ~ 7!").input_ids
    unknown_or_end = tiny.tokenizer().unk_token_id
    assert len(tiny.tokenizer()) == 190
    assert tokens.count(unknown_or_end) == 1
    assert tokens[-1] == unknown_or_end


def test_dit_pipeline_loads_back_equal_with_its_class_names(tiny: ModuleType, dit_folder: Path) -> None:
    built, loaded = tiny.dit_pipeline(), DiTPipeline.from_pretrained(dit_folder)
    torch.testing.assert_close(class_prediction(loaded.transformer, 3), class_prediction(built.transformer, 3))
    image = noisy(3, 32)
    latent = loaded.vae.encode(image).latent_dist.mean
    torch.testing.assert_close(latent, built.vae.encode(image).latent_dist.mean)
    assert loaded.labels == {name: number for number, name in enumerate(tiny.CLASSES)}
    assert class_prediction(loaded.transformer, 3).shape == (1, 8, 16, 16)


@pytest.mark.parametrize(
    ("builder", "folder", "channels"),
    [
        ("pixel_dit", "pixel_dit_folder", 1),
        ("pixel_unet", "pixel_unet_folder", 1),
        ("pixel_unet", "rgb_unet_folder", 3),
    ],
)
def test_pixel_model_loads_back_equal(
    tiny: ModuleType, request: pytest.FixtureRequest, builder: str, folder: str, channels: int
) -> None:
    path = request.getfixturevalue(folder)
    built = getattr(tiny, builder)(channels=channels)
    loaded = type(built).from_pretrained(path)
    torch.testing.assert_close(class_prediction(loaded, 3), class_prediction(built, 3))
    assert class_prediction(loaded, 3).shape == (1, channels, 28, 28)
    assert DDPMScheduler.from_pretrained(path).config.beta_schedule == "squaredcos_cap_v2"
    assert json.loads((path / "classes.json").read_text(encoding="utf-8")) == list(tiny.CLASSES)
    assert {file.name for file in path.iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "scheduler_config.json",
        "classes.json",
    }


@pytest.mark.parametrize("builder", ["pixel_dit", "pixel_unet", "dit_pipeline"])
def test_class_model_answers_to_every_class(tiny: ModuleType, builder: str) -> None:
    built = getattr(tiny, builder)()
    model = getattr(built, "transformer", built)
    predictions = torch.cat([class_prediction(model, label) for label in range(10)]).flatten(1)
    between = torch.cdist(predictions, predictions, p=torch.inf)
    assert between[~torch.eye(10, dtype=torch.bool)].min() > 1e-2


def test_building_depends_on_the_seed_alone(tiny: ModuleType) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (class_prediction(tiny.pixel_dit(seed=seed), 0) for seed in (0, 0, 1))
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)
