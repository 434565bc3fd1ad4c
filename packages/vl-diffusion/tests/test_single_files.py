"""Single files of whole pipelines: read by diffusers' converters, they give the errors of the folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from vl_diffusion import DiffusionClassifier, Exhaustive
from vl_diffusion.cli import main
from vl_diffusion.models.loading import load_denoiser

PETS = ("cat", "dog", "bird")

# The second text encoder is wider, as in the published models: diffusers tells the two apart by their width.
PIPELINES = {
    "sd": ("stable_diffusion", {}),
    "sd-v": ("stable_diffusion", {"prediction_type": "v_prediction"}),
    "sdxl": ("stable_diffusion_xl", {"second": 48}),
    "sd3": ("stable_diffusion_3", {"second": 48}),
    "sd3-t5": ("stable_diffusion_3", {"second": 48, "t5": True}),
}


@pytest.fixture(scope="session")
def original(helper) -> ModuleType:
    """The module `original.py` beside this file."""
    return helper("original")


def errors_of(model, **settings):
    classifier = DiffusionClassifier.from_pretrained(model, PETS, search=Exhaustive(2), **settings)
    return classifier.classify(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))).errors


def build(tiny, name):
    kind, settings = PIPELINES[name]
    pipeline = getattr(tiny, kind)(**settings)
    if name.startswith("sd3"):
        # Published files have no projection of this text encoder, and diffusers takes the unit.
        pipeline.text_encoder.text_projection.weight.data = torch.eye(32)
    return pipeline


def configuration(folder: Path, target: Path) -> Path:
    """A copy of a pipeline's folder without weights."""
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors")))


@pytest.mark.parametrize("name", PIPELINES)
def test_a_single_file_gives_the_errors_of_the_folder(name, tiny, original, tmp_path):
    pipeline = build(tiny, name)
    pipeline.save_pretrained(tmp_path / "folder")
    config = configuration(tmp_path / "folder", tmp_path / "config")
    file = original.save(pipeline, tmp_path / "model.safetensors")
    np.testing.assert_allclose(errors_of(file, config=config), errors_of(tmp_path / "folder"), rtol=1e-6)
    assert load_denoiser(file, config=config, dtype="bf16").network.dtype == torch.bfloat16
    with pytest.raises(ValueError, match=f"variant must be None for {file}, .*, got 'fp16'; leave it out"):
        load_denoiser(file, config=config, variant="fp16")


def test_a_single_file_in_plain_float8_is_read_as_its_numbers(tiny, original, tmp_path):
    pipeline = build(tiny, "sd")
    original.save(pipeline, tmp_path / "whole.safetensors")
    weights = load_file(tmp_path / "whole.safetensors")
    stored = {name: value.to(torch.float8_e4m3fn) if value.ndim > 1 else value for name, value in weights.items()}
    save_file(stored, tmp_path / "float8.safetensors")
    save_file({name: value.float() for name, value in stored.items()}, tmp_path / "rounded.safetensors")
    pipeline.save_pretrained(tmp_path / "folder")
    errors = [errors_of(tmp_path / f"{name}.safetensors", config=tmp_path / "folder") for name in ("float8", "rounded")]
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-6)


def test_a_single_file_needs_no_config_where_the_inferred_one_is_in_the_cache(
    tiny, original, sd_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    file = original.save(tiny.stable_diffusion(), tmp_path / "model.safetensors")
    published = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    with pytest.raises(
        ValueError, match=f"{file} is a single file, and its configuration {published} .*; pass config="
    ):
        load_denoiser(file)
    with pytest.raises(ValueError, match=r"hub id, and its configuration me/mine cannot be had from the hub"):
        load_denoiser(file, config="me/mine")
    repository = tmp_path / f"models--{published.replace('/', '--')}"
    configuration(sd_folder, repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    np.testing.assert_allclose(errors_of(file), errors_of(sd_folder), rtol=1e-6)
    np.testing.assert_allclose(errors_of(file, config=published), errors_of(sd_folder), rtol=1e-6)


@pytest.mark.slow
def test_a_flux_of_the_published_width_gives_the_errors_of_its_folder(tiny, original, tmp_path):
    # diffusers' converter knows the width of the published model only: 500 million weights for two blocks.
    pipeline = tiny.flux(heads=24, head=128).to(torch.bfloat16)
    pipeline.save_pretrained(tmp_path / "folder")
    config = configuration(tmp_path / "folder", tmp_path / "config")
    file = original.save(pipeline, tmp_path / "model.safetensors")
    del pipeline
    errors = errors_of(file, config=config, dtype="bfloat16")
    np.testing.assert_allclose(errors, errors_of(tmp_path / "folder", dtype="bfloat16"), rtol=1e-6)


@pytest.mark.parametrize(("build", "network"), [("flux", "transformer"), ("stable_diffusion", "unet")])
def test_a_file_of_the_network_alone_takes_the_other_parts_from_the_folder(build, network, tiny, tmp_path):
    getattr(tiny, build)(seed=0).save_pretrained(tmp_path / "base")
    tuned = getattr(tiny, build)(seed=1)
    file = tmp_path / "tuned.safetensors"
    save_file(getattr(tuned, network).state_dict(), file)
    others = {name: part for name, part in tiny_parts(tmp_path / "base", build).items() if name != network}
    expected = DiffusionClassifier(
        type(tuned)(**others, **{network: getattr(tuned, network)}), PETS, search=Exhaustive(2)
    )
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    errors = errors_of(file, config=tmp_path / "base")
    np.testing.assert_allclose(errors, expected.classify(image).errors, rtol=1e-6)
    assert not np.allclose(errors, errors_of(tmp_path / "base"))
    with pytest.raises(
        ValueError, match=r"has the weights of one network; pass config= .*, the folder of a saved pipeline"
    ):
        load_denoiser(file)
    with pytest.raises(ValueError, match=r"one network; pass the folder of the model, or pass config= "):
        load_denoiser(next((tmp_path / "base" / network).glob("*.safetensors")))


def tiny_parts(folder, build):
    """The parts of a saved pipeline, with those that it needs no value for."""
    import diffusers

    settings = {"safety_checker": None, "requires_safety_checker": False} if build == "stable_diffusion" else {}
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, **settings)
    return pipeline.components | ({"requires_safety_checker": False} if settings else {})


def test_parts_that_the_file_lacks_come_from_the_folder_or_are_named(tiny, original, tmp_path):
    pipeline = build(tiny, "sd3-t5")
    pipeline.save_pretrained(tmp_path / "folder")
    whole = errors_of(tmp_path / "folder")
    config = configuration(tmp_path / "folder", tmp_path / "config")
    file = original.save(pipeline, tmp_path / "m.safetensors", leave_out=["vae", "text_encoder_3"])
    np.testing.assert_allclose(errors_of(file, config=tmp_path / "folder"), whole, rtol=1e-6)
    with pytest.raises(ValueError, match=f"{file} has no vae, and neither has {config}; pass config="):
        load_denoiser(file, config=config)
    shutil.copytree(tmp_path / "folder" / "vae", config / "vae", dirs_exist_ok=True)
    with pytest.warns(UserWarning, match=r"has no T5, text_encoder_3, and is loaded without"):
        assert not np.allclose(errors_of(file, config=config), whole)
    (config / "tokenizer_2" / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=f"{config / 'tokenizer_2'} has no vocabulary"):
        load_denoiser(file, config=config)


REFUSED = {
    "LoRA": (
        {"unet.down_blocks.0.attn.lora_A.weight": 2},
        "sd",
        r"weights of a LoRA; load its base model in diffusers",
    ),
    "autoencoder": (
        {"encoder.conv_in.weight": 2},
        "sd",
        r"has no denoising network \(its weights are encoder\.conv_in",
    ),
    "scaled float8": (
        {"model.diffusion_model.img_in.weight": 2, "model.diffusion_model.img_in.scale_weight": 1},
        "sd",
        r"quantized weights \(model\.diffusion_model\.img_in\.scale_weight\), which are not supported; take those",
    ),
    "other names": ({"model.diffusion_model.x": 2}, "sd", r"does not fit the configuration in .*; pass config="),
    "PixArt": (
        {"transformer_blocks.0.x": 2},
        "pixart",
        r"loads no single file of a PixArtAlphaPipeline; it does of St",
    ),
    "DiT": ({"transformer_blocks.0.x": 2}, "dit", r"must be the folder .* no single file of a DiTPipeline"),
}


@pytest.mark.parametrize(("weights", "config", "message"), REFUSED.values(), ids=REFUSED)
def test_files_that_are_no_such_pipeline_are_one_line(weights, config, message, request, tiny, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(size) for name, size in weights.items()}, file)
    if config == "pixart":
        tiny.pixart().save_pretrained(tmp_path / "pixart")
    folder = tmp_path / "pixart" if config == "pixart" else request.getfixturevalue(f"{config}_folder")
    with pytest.raises(ValueError, match=message) as caught:
        load_denoiser(file, config=folder)
    assert "\n" not in str(caught.value)


def test_a_configuration_of_another_size_or_none_is_one_line(tiny, original, sd_folder, pixel_dit_folder, tmp_path):
    file = original.save(tiny.stable_diffusion(), tmp_path / "model.safetensors")
    tiny.stable_diffusion_xl().save_pretrained(tmp_path / "sdxl")
    with pytest.raises(ValueError, match=re.escape(f"{file} ")) as caught:
        load_denoiser(file, config=tmp_path / "sdxl")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"config must be the folder of a pipeline, with a model_index\.json, got"):
        load_denoiser(file, config=pixel_dit_folder)
    with pytest.raises(ValueError, match=r"config must be None for .*, which is no single file, got"):
        load_denoiser(sd_folder, config=sd_folder)
    names = {name: value for name, value in load_file(file).items() if not name.endswith("out.2.bias")}
    save_file(names, tmp_path / "less.safetensors")
    with pytest.raises(
        ValueError, match=r"less\.safetensors does not fit the configuration in .* \(weights are missing\)"
    ):
        load_denoiser(tmp_path / "less.safetensors", config=sd_folder)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{file} is damaged"):
        load_denoiser(file, config=sd_folder)


def test_the_command_takes_a_file_its_configuration_and_remembers_both(tiny, original, sd_folder, tmp_path, capsys):
    file = original.save(tiny.stable_diffusion(), tmp_path / "model.safetensors")
    config = configuration(sd_folder, tmp_path / "config")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    arguments = ["classify", str(tmp_path / "red.png"), "--model", str(file), "--model-config", str(config)]
    arguments += ["--classes", "cat", "dog", "--search", "exhaustive", "--draws", "2", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert "1 of 1 images are finished" in capsys.readouterr().err
    scheduler = config / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("0.012", "0.013"))
    assert main(arguments) == 2
    assert f"the model in {file} has changed since the results" in capsys.readouterr().err
