"""Folders and files as people have them: each loads as its plain folder does, or is one line with the remedy."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from safetensors.torch import load_file, save_file
from vl_diffusion import DiffusionClassifier, Exhaustive, MapConditionalDenoiser, match
from vl_diffusion.cli import main
from vl_diffusion.models.loading import as_denoiser, load_denoiser
from vl_diffusion.models.weights import refuse_variant

PETS = ("cat", "dog", "bird")
UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
BUILDS = {
    "sd": "stable_diffusion",
    "sdxl": "stable_diffusion_xl",
    "sd3": "stable_diffusion_3",
    "flux": "flux",
    "pixart": "pixart",
    "dit": "dit_pipeline",
}


def images(count: int, channels: int = 3, size: int = 32) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(2))


def errors_of(model, **settings):
    names = None if (known := settings.pop("known", None)) else PETS
    classifier = DiffusionClassifier.from_pretrained(model, names, search=Exhaustive(2), **settings)
    return classifier.classify(images(1, *((1, 28) if known == "pixel" else ()))).errors


def rename(folder: Path, old: str, new: str) -> Path:
    """Rename weight files of every part."""
    for path in list(folder.rglob(f"*{old}")):
        path.rename(path.with_name(path.name.replace(old, new)))
    return folder


@pytest.mark.parametrize("name", BUILDS)
def test_a_folder_of_half_precision_variants_gives_the_errors_of_the_plain_one(name, tiny, tmp_path):
    pipeline = getattr(tiny, BUILDS[name])().to(torch.float16)
    pipeline.save_pretrained(tmp_path / "plain")
    pipeline.save_pretrained(tmp_path / "half", variant="fp16")
    assert not list((tmp_path / "half").rglob("*model.safetensors"))
    if name == "dit":
        for folder in tmp_path.iterdir():
            index = json.loads((folder / "model_index.json").read_text())
            (folder / "model_index.json").write_text(json.dumps(index | {"id2label": dict(enumerate(tiny.CLASSES))}))
    known = {"known": "dit"} if name == "dit" else {}
    expected = errors_of(tmp_path / "plain", **known)
    np.testing.assert_array_equal(errors_of(tmp_path / "half", variant="fp16", **known), expected)
    with pytest.warns(UserWarning, match=r"weights that .*half has only as variant fp16 are loaded"):
        np.testing.assert_array_equal(errors_of(tmp_path / "half", **known), expected)


def test_a_network_of_a_variant_loads(pixel_dit_folder, tmp_path):
    folder = rename(shutil.copytree(pixel_dit_folder, tmp_path / "m"), "model.safetensors", "model.fp16.safetensors")
    expected = errors_of(pixel_dit_folder, known="pixel")
    np.testing.assert_array_equal(errors_of(folder, variant="fp16", known="pixel"), expected)
    with pytest.raises(ValueError, match=r"be 'fp16' for .*m, .*got 'ema'; pass variant='fp16', or leave"):
        load_denoiser(folder, variant="ema")


def test_parts_without_the_variant_are_taken_plain_and_no_other_is(sd_folder, tmp_path):
    folder = shutil.copytree(sd_folder, tmp_path / "m")
    half = {name: value.half() for name, value in load_file(folder / UNET).items()}
    save_file(half, folder / UNET.replace(".safetensors", ".fp16.safetensors"))
    (folder / "unet" / "LICENSE").write_text("a file without an ending")
    plain, mixed = load_denoiser(folder), load_denoiser(folder, variant="fp16")
    name, weight = next(iter(plain.network.named_parameters()))
    assert not torch.equal(dict(mixed.network.named_parameters())[name], weight)
    torch.testing.assert_close(dict(mixed.network.named_parameters())[name], weight.half().float())
    rename(folder / "vae", "model.safetensors", "model.fp16.safetensors")
    with pytest.warns(UserWarning, match="only as variant fp16"):
        # The network has plain weights, which are not replaced by the variant that the autoencoder has.
        assert torch.equal(dict(load_denoiser(folder).network.named_parameters())[name], weight)
    rename(folder / "vae", "model.fp16.safetensors", "model.ema.safetensors")
    (folder / "vae" / "diffusion_pytorch_model.bf16.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"be 'bf16' or 'ema' for .*vae, .* got None; pass one of these$"):
        load_denoiser(folder)


@pytest.mark.parametrize(
    ("asked", "found", "message"),
    [
        ("bf16", {"fp16"}, "must be 'fp16' for M, .*, got 'bf16'; pass variant='fp16', or leave it out"),
        ("bf16", {"fp16", None}, "must be 'fp16' or None for M, .*, got 'bf16'; pass variant='fp16', or leave it out"),
        ("bf16", {"fp16", "ema"}, "must be 'ema' or 'fp16' for M, .*, got 'bf16'; pass one of these"),
        (
            "bf16",
            {"fp16", "ema", None},
            "must be 'ema' or 'fp16' or None for M, .*; pass one of these, or leave it out",
        ),
        ("bf16", {None}, "must be None for M, whose weights have none, got 'bf16'; leave it out"),
        (None, {"fp16", "ema"}, "must be 'ema' or 'fp16' for M, .*, got None; pass one of these"),
        (None, {"fp16"}, "must be 'fp16' for M, .*, got None; pass variant='fp16'"),
    ],
)
def test_the_variants_that_there_are_are_named(asked, found, message):
    assert re.match(f"variant {message}", refuse_variant("M", asked, found))


def test_a_pipeline_without_the_variant_names_those_of_all_its_parts(sd_folder, tmp_path):
    folder = shutil.copytree(sd_folder, tmp_path / "m")
    with pytest.raises(ValueError, match=r"variant must be None for .*m, whose weights have none, got 'bf16'; leave"):
        load_denoiser(folder, variant="bf16")
    for part, variant in (("unet", "fp16"), ("vae", "ema")):
        weights = next((folder / part).glob("*.safetensors"))
        shutil.copy(weights, weights.with_name(weights.name.replace(".safetensors", f".{variant}.safetensors")))
    with pytest.raises(ValueError, match=r"variant must be 'ema' or 'fp16' or None for .*m, .*; pass one of these, or"):
        load_denoiser(folder, variant="bf16")
    for part in ("unet", "vae"):
        next((folder / part).glob("*model.safetensors")).unlink()
    # No variant is that of all parts.
    with pytest.warns(UserWarning, match=r"only as variant ema and fp16 are loaded$"):
        load_denoiser(folder)


def test_a_model_on_the_hub_names_its_variants(sd_folder, tmp_path, monkeypatch):
    """The client is replaced, as it answers where the hub has weights of variants alone."""
    import diffusers

    def download(*_, **__):
        raise OSError("Could not find the necessary `safetensors` weights in {...}")

    names = [f"{part}/model.{variant}.safetensors" for part in ("unet", "vae") for variant in ("fp16", "ema")]
    monkeypatch.setattr("vl_diffusion.models.loading.hf_hub_download", lambda *_: sd_folder / "model_index.json")
    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "download", download)
    monkeypatch.setattr("vl_diffusion.models.loading.list_repo_files", lambda _: [*names, "README.md"])
    with pytest.raises(
        ValueError, match=r"^variant must be 'ema' or 'fp16' for me/mine, .* got None; pass one of these"
    ):
        load_denoiser("me/mine")
    with pytest.raises(FileNotFoundError, match=r"no model 'me/mine': .* not available from the hub: Could not find"):
        load_denoiser("me/mine", variant="fp16")


def test_shards_are_loaded(tiny, sd_folder, tmp_path):
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(tmp_path / "m", max_shard_size="40KB", variant="fp32")
    assert len(list((tmp_path / "m" / "unet").glob("*-of-*"))) == 2
    np.testing.assert_array_equal(errors_of(tmp_path / "m", variant="fp32"), errors_of(sd_folder))


def shards(folder):
    for path in folder.rglob("*.safetensors"):
        index = {"weight_map": {"a": path.name.replace(".safetensors", "-00001-of-00002.safetensors")}}
        path.rename(path.with_name(index["weight_map"]["a"].replace("00001", "00002")))
        path.with_name(f"{path.name}.index.json").write_text(json.dumps(index))


def cut(file, length):
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:length])


def write(file, content):
    return lambda folder: (folder / file).write_bytes(content)


def remove(file):
    return lambda folder: shutil.rmtree(folder / file) if (folder / file).is_dir() else (folder / file).unlink()


DAMAGED = {
    "pickled unet": (
        lambda folder: rename(folder / "unet", ".safetensors", ".bin"),
        "unet has only diffusion_pytorch_model.bin, which may be pickled.*with diffusers and save it with save_pretr",
    ),
    "pickled text": (lambda folder: rename(folder / "text_encoder", "model.safetensors", "pytorch_model.bin"), "pickl"),
    "ONNX": (lambda folder: rename(folder, ".safetensors", ".onnx"), "has only ONNX weights .*take the safetensors"),
    "shard": (shards, r"-00001-of-00002\.safetensors is missing, a part of the weights; copy the whole model"),
    "index": (write(f"{UNET}.index.json", b'{"weight_map": 3}'), "must map weights to files under weight_map"),
    "truncated": (cut(UNET, -2000), f"{UNET} is damaged or no safetensors file .*; copy it again"),
    "truncated header": (cut(UNET, 2000), f"{UNET} is damaged"),
    "empty": (cut(TEXT, 0), f"{TEXT} is damaged"),
    "huge header": (write(TEXT, (2**62).to_bytes(8, "little") + b"{}"), f"{TEXT} is damaged .*header too large"),
    "LFS": (write(UNET, b"version https://git-lfs.github.com/spec/v1\n"), f"{UNET} is the pointer .*git lfs pull"),
    "directory": (lambda folder: (remove(UNET)(folder), (folder / UNET).mkdir()), f"{UNET} cannot be read .*directory"),
    "no weights": (remove(UNET), "unet has no weights, only config.json; copy the whole model"),
    "no text encoder": (remove("text_encoder"), "has no folder text_encoder, a part of its pipeline; copy the whole"),
    "no scheduler": (remove("scheduler/scheduler_config.json"), r"scheduler has no scheduler_config\.json; copy"),
    "no network config": (remove("unet/config.json"), r"unet has no config\.json; copy"),
    # transformers makes a tokenizer of an empty folder, which knows no word.
    "no vocabulary": (remove("tokenizer/tokenizer.json"), r"tokenizer has no vocabulary .*; copy the whole tokenizer"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_folder_is_one_line_with_the_file_and_the_remedy(damage, message, sd_folder, tmp_path):
    folder = shutil.copytree(sd_folder, tmp_path / "model")
    damage(folder)
    with pytest.raises(ValueError, match=message) as caught:
        load_denoiser(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_weights_load_after_the_remedy(sd_folder, tmp_path):
    import diffusers

    folder = shutil.copytree(sd_folder, tmp_path / "model")
    torch.save(load_file(folder / UNET), (folder / UNET).with_suffix(".bin"))
    (folder / UNET).unlink()
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    pipeline.save_pretrained(tmp_path / "converted")
    np.testing.assert_array_equal(errors_of(tmp_path / "converted"), errors_of(sd_folder))


OTHER = {
    "nothing": ({}, "", "has no diffusion model.*pass the folder that save_pretrained wrote"),
    "LoRA": ({"pytorch_lora_weights.safetensors": b""}, "", "looks like a LoRA: .*load_lora_weights, pass the pipe"),
    "GGUF folder": ({"flux-Q4.gguf": b"GGUF"}, "", "it holds GGUF files; take the safetensors"),
    "GGUF": ({"flux-Q4.gguf": b"GGUF"}, "flux-Q4.gguf", "is a GGUF file; take the safetensors"),
    "folder of a folder": ({"sd/model_index.json": b"{}"}, "", "pass the folder inside: .*sd$"),
    "folder of a file": ({"sd.safetensors": b"{}"}, "", r"pass the file if it holds a whole pipeline: .*sd\.safet"),
    "pickled": ({"sd.ckpt": b""}, "sd.ckpt", "may be pickled.*save its model as safetensors where you trust"),
    "image": ({"cat.jpg": b""}, "cat.jpg", "is no model; pass a folder, or a .safetensors file"),
    "part": (
        {"model_index.json": b"{}", "unet/config.json": b'{"_class_name": "UNet2DConditionModel"}'},
        "unet",
        "UNet2DConditionModel; supported networks are .*; pass the whole pipeline: .*",
    ),
}


@pytest.mark.parametrize(("files", "path", "message"), OTHER.values(), ids=OTHER)
def test_what_is_no_model_is_one_line_with_the_remedy(files, path, message, tmp_path):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_denoiser(tmp_path / path)


def test_a_path_may_have_a_home_a_slash_or_the_index_at_its_end(sd_folder, pixel_dit_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(sd_folder.parent))
    monkeypatch.setenv("USERPROFILE", str(sd_folder.parent))
    for path in (f"~/{sd_folder.name}", f"{sd_folder}/", sd_folder / "model_index.json"):
        assert load_denoiser(path).image_size == 32
    assert load_denoiser(pixel_dit_folder / "config.json").image_size == 28


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"dtype": "float16"}, torch.float16),
        ({"torch_dtype": "bf16"}, torch.bfloat16),
        ({"dtype": "torch.float64"}, torch.float64),
        ({"dtype": torch.bfloat16, "torch_dtype": "bfloat16"}, torch.bfloat16),
        ({}, torch.float32),
    ],
)
def test_a_precision_is_a_dtype_or_its_name(arguments, expected, pixel_dit_folder):
    classifier = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=Exhaustive(2), **arguments)
    assert classifier.denoiser.network.dtype == expected


# None of these comes to look for the model, which does not exist.
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "floaty"}, "dtype must be a torch.dtype or one of float32, .*, got 'floaty'"),
        ({"dtype": ""}, "dtype must be .*, got ''"),
        ({"torch_dtype": torch.int8}, "torch_dtype must be .*, got torch.int8"),
        ({"dtype": "fp16", "torch_dtype": torch.float32}, "dtype and torch_dtype must agree.*pass only dtype"),
        ({"image_size": (32, 48)}, r"image_size must be one whole number of pixels, .*, got \(32, 48\)"),
        ({"image_size": "64"}, "image_size must be one whole number of pixels, .*, got '64'"),
        ({"image_size": True}, "image_size must be one whole number of pixels, .*, got True"),
        ({"device": "gpu"}, "device must be a device of this machine .*, got 'gpu'; torch knows no device"),
        ({"device": "cuda:99"}, "device must be a device of this machine .*, got 'cuda:99'"),
        ({"device": torch.device("meta")}, "device must be a device of this machine .*, got 'meta'"),
    ],
)
def test_arguments_are_checked_before_anything_is_loaded(arguments, message):
    with pytest.raises(ValueError, match=message):
        DiffusionClassifier.from_pretrained("nobody/no-such-model", PETS, **arguments)


def test_arguments_are_checked_for_objects_too(tiny):
    pipeline = tiny.stable_diffusion()
    with pytest.raises(ValueError, match=r"device must be a device of this machine .*, got 'cuda:99'"):
        DiffusionClassifier(pipeline, PETS, device="cuda:99")
    with pytest.raises(ValueError, match=r"device must be a device of this machine .*, got 'cuda:99'"):
        match(pipeline, images(1), ["a cat"], device="cuda:99")
    with pytest.raises(ValueError, match=r"image_size must be one whole number .*got \[32\]"):
        as_denoiser(pipeline, image_size=[32])
    assert as_denoiser(pipeline, image_size=np.int64(16)).image_size == 16


def test_a_map_network_says_what_is_wrong_with_its_weights(rgb_unet_folder, tmp_path):
    folder = shutil.copytree(rgb_unet_folder, tmp_path / "map")
    cut("diffusion_pytorch_model.safetensors", -5)(folder)
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.safetensors is damaged"):
        MapConditionalDenoiser.from_pretrained(folder)


def cached(folder: Path, cache: Path, model_id: str) -> None:
    """Put a folder into the cache of the hub, as a download does."""
    repository = cache / f"models--{model_id.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")


def test_a_model_in_the_cache_of_the_hub_needs_no_network(sd_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cached(sd_folder, tmp_path, "someone/sd")
    np.testing.assert_array_equal(errors_of("someone/sd"), errors_of(sd_folder))
    cut(UNET, 100)(tmp_path / "models--someone--sd" / "snapshots" / "abc")
    with pytest.raises(ValueError, match=re.escape(f"{UNET} is damaged")):
        load_denoiser("someone/sd")


@pytest.mark.parametrize(
    ("offline", "reason"),
    [(True, "HF_HUB_OFFLINE keeps it offline; unset that"), (False, "the hub cannot be reached; check the network")],
)
def test_a_model_that_is_not_in_the_cache_says_how_to_get_it(offline, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    if not offline:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("vl_diffusion.models.loading.hf_hub_download", no_network)
    message = f"not in the hub's cache, and {reason}, or run hf download someone/else --local-dir FOLDER"
    with pytest.raises(FileNotFoundError, match=message):
        load_denoiser("someone/else")


def no_network(*_: str) -> str:
    """Raise what the client does after its retries, which take 20 seconds."""
    raise LocalEntryNotFoundError("cannot find the requested files in the local cache")


def test_commands_take_a_variant(pixel_dit_folder, tmp_path):
    folder = rename(shutil.copytree(pixel_dit_folder, tmp_path / "m"), "model.safetensors", "model.fp16.safetensors")
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    arguments = ["classify", str(tmp_path / "black.png"), "--model", str(folder), "--search", "exhaustive", "--draws"]
    arguments += ["2", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--variant", "fp16"]) == 0
    assert main([*arguments, "--variant", "ema"]) == 2
