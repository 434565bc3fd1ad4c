"""Real, tiny diffusers models: loaded from folders, wrapped as objects, and evaluated as their mathematics says."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import vl_diffusion
from diffusers import DDPMScheduler, DiTPipeline, StableDiffusionPipeline
from vl_core.noise import gaussian, make_keys
from vl_diffusion import DiffusionClassifier, Exhaustive
from vl_diffusion.models.folders import BUILT_IN, local_folder
from vl_diffusion.models.images import content_id
from vl_diffusion.models.loading import as_denoiser
from vl_diffusion.studies.adaptation.names import BUILT_IN_SOURCES

PETS = ("cat", "dog", "bird")


def images(count: int, channels: int, size: int) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("folder", ["sd_folder", "sd_v_folder"])
def test_stable_diffusion_is_classified_as_by_a_plain_loop(folder, request):
    path = request.getfixturevalue(folder)
    pipeline = StableDiffusionPipeline.from_pretrained(path, safety_checker=None, requires_safety_checker=False)
    classifier = DiffusionClassifier.from_pretrained(path, PETS, search=Exhaustive(4), prompt_template="my {}!")
    image = images(1, 3, classifier.denoiser.image_size)
    result = classifier.classify(image)
    errors = np.zeros((3, 4))
    with torch.no_grad():
        latent = pipeline.vae.encode(image * 2 - 1).latent_dist.mean * pipeline.vae.config.scaling_factor
        for k, name in enumerate(PETS):
            ids = pipeline.tokenizer(f"my {name}!", padding="max_length", max_length=77, return_tensors="pt").input_ids
            text = pipeline.text_encoder(ids)[0]
            for draw, step in enumerate((125, 375, 625, 875)):
                alpha = float(DDPMScheduler.from_config(pipeline.scheduler.config).alphas_cumprod[step])
                noise = gaussian(
                    make_keys(0, torch.tensor([content_id(image[0])]), torch.tensor([draw])), latent.shape[1:]
                )
                x_t = alpha**0.5 * latent + (1 - alpha) ** 0.5 * noise
                output = pipeline.unet(x_t, step, encoder_hidden_states=text).sample
                if folder == "sd_v_folder":
                    velocity = alpha**0.5 * noise - (1 - alpha) ** 0.5 * latent
                    # In velocity space the same error is larger by 1 / alpha.
                    errors[k, draw] = alpha * (output - velocity).square().mean()
                else:
                    errors[k, draw] = (output - noise).square().mean()
    np.testing.assert_allclose(result.errors[0], errors.mean(1), rtol=1e-4)


def test_a_pipeline_object_and_its_folder_agree(sd_folder):
    pipeline = StableDiffusionPipeline.from_pretrained(sd_folder, safety_checker=None, requires_safety_checker=False)
    from_object = DiffusionClassifier(pipeline, PETS, search=Exhaustive(3))
    from_folder = DiffusionClassifier.from_pretrained(str(sd_folder), PETS, search=Exhaustive(3))
    image = images(2, 3, 32)
    np.testing.assert_array_equal(from_object.classify(image).errors, from_folder.classify(image).errors)


def test_dit_pipeline_names_its_classes(dit_folder, tiny):
    classifier = DiffusionClassifier.from_pretrained(dit_folder, search=Exhaustive(2))
    assert classifier.classes == tiny.CLASSES
    result = classifier.classify(images(1, 3, classifier.denoiser.image_size))
    # Random weights, but every class is another condition.
    assert len(np.unique(result.errors)) == 10


def test_dit_pipeline_object_and_folder_agree(dit_folder, tiny):
    pipeline = DiTPipeline.from_pretrained(dit_folder)
    image = images(1, 3, 32)
    named = DiffusionClassifier(pipeline, search=Exhaustive(2))
    assert named.classes == tiny.CLASSES
    unnamed = DiffusionClassifier.from_pretrained(dit_folder, search=Exhaustive(2))
    np.testing.assert_array_equal(named.classify(image).errors, unnamed.classify(image).errors)


def test_dit_without_names_takes_all_of_them_in_label_order(tiny):
    pipeline = tiny.dit_pipeline()
    classes = [f"thing {i}" for i in range(10)]
    assert DiffusionClassifier(pipeline, classes).classes == tuple(classes)
    with pytest.raises(ValueError, match=r"10 classes.*got 3"):
        DiffusionClassifier(pipeline, classes[:3])


@pytest.mark.parametrize("folder", ["pixel_dit_folder", "pixel_unet_folder", "rgb_unet_folder"])
def test_pixel_models_are_evaluated_as_by_a_plain_loop(folder, request, tiny):
    path = request.getfixturevalue(folder)
    config = json.loads((path / "config.json").read_text())
    model = getattr(diffusers, config["_class_name"]).from_pretrained(path).eval()
    classifier = DiffusionClassifier.from_pretrained(path, search=Exhaustive(2))
    image = images(1, config["in_channels"], config["sample_size"])
    result = classifier.classify(image)
    alphas = DDPMScheduler.from_pretrained(path).alphas_cumprod
    errors = np.zeros((10, 2))
    with torch.no_grad():
        for draw, step in enumerate((250, 750)):
            noise = gaussian(make_keys(0, torch.tensor([content_id(image[0])]), torch.tensor([draw])), image.shape[1:])
            x_t = alphas[step] ** 0.5 * (image * 2 - 1) + (1 - alphas[step]) ** 0.5 * noise
            for k in range(10):
                output = model(x_t, timestep=torch.tensor([step]), class_labels=torch.tensor([k])).sample
                errors[k, draw] = (output[:, : config["in_channels"]] - noise).square().mean()
    np.testing.assert_allclose(result.errors[0], errors.mean(1), rtol=1e-4)


def test_a_subset_of_the_classes_in_any_order(pixel_dit_folder, tiny):
    every = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=Exhaustive(2))
    some = DiffusionClassifier.from_pretrained(
        pixel_dit_folder, [tiny.CLASSES[7], tiny.CLASSES[2]], search=Exhaustive(2)
    )
    image = images(1, 1, 28)
    np.testing.assert_allclose(some.classify(image).errors[0], every.classify(image).errors[0, [7, 2]], rtol=1e-5)


def test_a_class_that_the_model_does_not_know_is_named(pixel_dit_folder):
    with pytest.raises(ValueError, match=r"bird .*got 'birdd'"):
        DiffusionClassifier.from_pretrained(pixel_dit_folder, ["birdd", "cat"])


def test_a_bare_network_needs_its_scheduler(tiny):
    with pytest.raises(ValueError, match="scheduler is missing for a bare"):
        DiffusionClassifier(tiny.pixel_dit())
    classifier = DiffusionClassifier(tiny.pixel_dit(), tiny.CLASSES, scheduler=DDPMScheduler())
    assert classifier.classes == tiny.CLASSES


def test_a_model_without_classes_is_refused(tiny):
    with pytest.raises(ValueError, match="model must be class-conditional"):
        DiffusionClassifier(tiny.pixel_unet(classes=None), ["a", "b"], scheduler=DDPMScheduler())


def test_folders_without_a_model_are_refused(tmp_path, pixel_dit_folder):
    with pytest.raises(ValueError, match=r"neither model_index\.json nor config\.json"):
        DiffusionClassifier.from_pretrained(tmp_path, PETS)
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(ValueError, match="AutoencoderKL; supported networks"):
        DiffusionClassifier.from_pretrained(tmp_path, PETS)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        DiffusionClassifier.from_pretrained(tmp_path, PETS)
    (tmp_path / "config.json").unlink()
    for kind in ("IFPipeline", "KandinskyV22Pipeline", "StableDiffusionUpscalePipeline", "FluxFillPipeline"):
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": kind}))
        with pytest.raises(ValueError, match=f"is a {kind}; supported pipelines are StableDiffusionPipeline, .*DiT"):
            DiffusionClassifier.from_pretrained(tmp_path, PETS)
    folder = shutil.copytree(pixel_dit_folder, tmp_path / "no-schedule")
    (folder / "scheduler_config.json").unlink()
    with pytest.raises(ValueError, match=r"no scheduler_config\.json"):
        DiffusionClassifier.from_pretrained(folder)


def test_every_model_that_ships_is_built_in():
    ships = Path(vl_diffusion.__file__).parent / "pretrained"
    assert "fashion" in BUILT_IN
    models = {path for path in ships.iterdir() if path.is_dir() and path.name not in BUILT_IN_SOURCES}
    assert {local_folder(name) for name in BUILT_IN} == models


@pytest.mark.parametrize("name", ["no-such-model", "./no/such", "nobody/no-such-model"])
def test_an_unknown_model_lists_the_places_searched(name):
    with pytest.raises(FileNotFoundError, match=r"no model.*built in"):
        DiffusionClassifier.from_pretrained(name, PETS)


def edited(folder, target, file, **settings):
    """A copy of a model's folder with some settings of one file replaced."""
    shutil.copytree(folder, target)
    config = json.loads((target / file).read_text())
    (target / file).write_text(json.dumps(config | settings))
    return target


@pytest.mark.parametrize(
    ("model", "file", "settings", "message"),
    [
        (
            "pixel_dit_folder",
            "config.json",
            {"num_layers": 3},
            r"no weights for transformer_blocks\.2\..* and \d+ more",
        ),
        (
            "pixel_dit_folder",
            "config.json",
            {"num_layers": 1},
            r"unexpected weights transformer_blocks\.1\..* and \d+ more",
        ),
        ("dit_folder", "transformer/config.json", {"num_layers": 5}, r"no weights for transformer_blocks\.2\."),
        ("sd_folder", "vae/config.json", {"layers_per_block": 2}, r"no weights for (de|en)coder\."),
    ],
)
def test_mismatched_weights_are_refused(model, file, settings, message, request, tmp_path, monkeypatch, caplog):
    # Where caplog can see it.
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    folder = edited(request.getfixturevalue(model), tmp_path / "model", file, **settings)
    with pytest.raises(ValueError, match=f"{folder / file} does not match the weights in the same folder: {message}"):
        DiffusionClassifier.from_pretrained(folder, PETS)
    assert "diffusers.models.modeling_utils" not in {record.name for record in caplog.records}


@pytest.mark.parametrize("model", ["pixel_dit_folder", "dit_folder", "sd_folder"])
def test_any_damage_to_a_configuration_is_one_error_that_names_the_model(model, request, tmp_path):
    file = {"dit_folder": "transformer/config.json", "sd_folder": "vae/config.json"}.get(model, "config.json")
    folder = edited(request.getfixturevalue(model), tmp_path / "model", file, sample_size=None)
    with pytest.raises(ValueError, match=f"model {folder} cannot be loaded"):
        DiffusionClassifier.from_pretrained(folder, PETS)


@pytest.mark.parametrize("content", ["5", "null", '{"0": "cat"}', "[1, 2]", '["cat", '])
def test_invalid_class_names_are_refused_by_file(content, pixel_dit_folder, tmp_path):
    folder = shutil.copytree(pixel_dit_folder, tmp_path / "model")
    (folder / "classes.json").write_text(content)
    with pytest.raises(ValueError, match=r"model/classes\.json (must be a JSON list|is not JSON)"):
        DiffusionClassifier.from_pretrained(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_train_timesteps": None}, "num_train_timesteps must be a positive integer, got None"),
        ({"num_train_timesteps": True}, "num_train_timesteps must be a positive integer, got True"),
        ({"num_train_timesteps": "x"}, "num_train_timesteps must be a positive integer, got 'x'"),
        ({"beta_end": "x"}, "beta_end must be a number, got 'x'"),
        ({"trained_betas": [None, "x"]}, "trained_betas must be a list of numbers"),
    ],
)
@pytest.mark.parametrize("model", ["pixel_dit_folder", "sd_folder"])
def test_invalid_schedules_are_refused_by_file(model, settings, message, request, tmp_path):
    file = "scheduler/scheduler_config.json" if model == "sd_folder" else "scheduler_config.json"
    folder = edited(
        request.getfixturevalue(model), tmp_path / "model", file, **({"beta_schedule": "linear"} | settings)
    )
    with pytest.raises(ValueError, match=f"{folder / file}: {message}"):
        DiffusionClassifier.from_pretrained(folder, PETS)


def test_a_dit_has_an_unconditional_label_and_a_unet_has_none(tiny):
    dit = as_denoiser(tiny.pixel_dit(), scheduler=DDPMScheduler())
    assert dit.encode_unconditional().tolist() == [10]
    unet = as_denoiser(tiny.pixel_unet(), scheduler=DDPMScheduler())
    with pytest.raises(ValueError, match="label for no class, and this UNet2DModel has none"):
        unet.encode_unconditional()
