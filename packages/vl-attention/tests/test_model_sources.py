"""Names, folders and files that hold no model: one line with what came and what to do."""

import json
import re
import shutil

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from vl_attention.classifiers.saved_models import load_classifier, load_model
from vl_attention.models.folders import PRETRAINED, check_model_name, model_folder

LOCAL = r"neither built in \(fashion_distilled, .*\), nor a local folder"
NO_ID = f"{LOCAL}, nor a hub id of the form owner/name; "


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("nope", "check the path"),
        ("./nope/nope", "check the path"),
        ("~/nope", "check the path"),
        ("a/b/c", "check the path"),
        ("https://some.where/x", "check the path"),
        ("timm/vit tiny", "check the path"),
        ("hf-hub:timm/vit_tiny", "check the path, or pass a model of timm as timm/NAME"),
        ("vit_tiny_patch16_224", "check the path, or pass a model of timm as timm/NAME"),
        ("fashion_distiled", r"did you mean fashion_distilled\?"),
    ],
)
def test_a_name_that_can_be_no_model_is_refused(name, advice):
    with pytest.raises(FileNotFoundError, match=f"^no model '{re.escape(name)}': it is {NO_ID}{advice}"):
        check_model_name(name)


@pytest.mark.parametrize("load", [load_model, load_classifier])
@pytest.mark.parametrize(
    ("offline", "reason"),
    [(True, "HF_HUB_OFFLINE keeps it offline; unset that"), (False, "the hub cannot be reached; check the network")],
)
def test_a_hub_id_that_is_not_to_be_had_says_how_to_get_it(load, offline, reason, tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise LocalEntryNotFoundError("an error happened, and the file is not in the cache")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("timm.models._factory.load_model_config_from_hf", no_network)
    remedy = "or run hf download nope/nope --local-dir FOLDER where there is a network, and pass that folder"
    with pytest.raises(FileNotFoundError, match=f"{LOCAL}, nor in the hub's cache, and {reason}, {remedy}$"):
        load("nope/nope")


def config(**changes):
    """Changes entries of the configuration."""

    def change(folder):
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**content, **changes}))

    return change


def weights(content):
    return lambda folder: (folder / "model.safetensors").write_bytes(content)


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def inside(folder):
    shutil.copytree(folder, folder / "model")
    (folder / "config.json").unlink()


WRONG = {
    "no configuration": (
        lambda folder: (folder / "config.json").unlink(),
        "{}: config.json is missing; write one with",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "{}: model.safetensors is missing; write"),
    "pickle": (pickled, "{}: model.safetensors is missing; pytorch_model.bin may be pickled, and is not read"),
    "a folder too high": (inside, "{}: config.json is missing; pass the folder inside: FOLDER/model"),
    "no JSON": (lambda folder: (folder / "config.json").write_text("{"), "FOLDER/config.json is not JSON"),
    "a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json must be a JSON object, got list"),
    "transformers": (config(architecture=None, model_type="vit"), "config.json is that of a transformers model, vit:"),
    "no architecture": (config(architecture=None), "FOLDER/config.json is not timm's: it names no architecture; write"),
    "unknown architecture": (
        config(architecture="net"),
        "FOLDER holds no model that timm can load (Unknown model (net",
    ),
    "junk": (weights(b"junk bytes, and no weights"), "FOLDER/model.safetensors is damaged or no safetensors file ("),
    "no bytes": (weights(b""), "FOLDER/model.safetensors is damaged or no safetensors file ("),
    "pointer": (weights(b"version https://git-lfs.github.com"), "FOLDER/model.safetensors is the pointer of a file in"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_folder_without_a_whole_model_says_what_is_wrong_in_it(wrong, tmp_path):
    folder = shutil.copytree(PRETRAINED / "fashion_distilled", tmp_path / "m")
    change, message = WRONG[wrong]
    change(folder)
    message = message.format("FOLDER holds no timm model").replace("FOLDER", str(folder))
    with pytest.raises(ValueError, match=re.escape(message)) as found:
        load_classifier(folder)
    assert "\n" not in str(found.value)


def test_a_file_is_refused_for_its_folder(tmp_path):
    for name in ("config.json", "model.safetensors"):
        path = PRETRAINED / "fashion_distilled" / name
        with pytest.raises(ValueError, match=re.escape(f"{path} is a file; pass the folder of a model, with config.j")):
            load_model(path)


def test_a_leading_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m").mkdir()
    assert model_folder("~/m") == tmp_path / "m"
    check_model_name("~/m")
