"""Start encoders open by name or folder, strictly, and leave PyTorch's generator alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from vl_explorer.rewards import imagenet
from vl_explorer.rewards.start import SHIPPED, START_ENCODERS, open_start_backbone, open_start_encoder
from vl_ssl import build_backbone, save_backbone, small_resnet

IMAGES = [Image.linear_gradient("L"), Image.radial_gradient("L").convert("RGB")]


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch, tmp_path):
    """No weights of ImageNet but those that a test writes below its own folder."""
    monkeypatch.setattr(imagenet, "PACKAGE", "no_such_package_of_weights")
    monkeypatch.setenv("VL_DATA", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def network() -> dict[str, Tensor]:
    """Weights of a random EfficientNet-Lite0 under the names of timm."""
    found = build_backbone("tf_efficientnet_lite0").network.state_dict()
    return {name: value for name, value in found.items() if not name.endswith("num_batches_tracked")}


def write_port(folder, network: dict[str, Tensor], **changes: Tensor | None) -> None:
    """Write the weights under the names of the port, some of them replaced or left out."""
    old = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    blocks = [(stage, place) for stage, count in enumerate((1, 2, 2, 3, 3, 4, 1)) for place in range(count)]
    port = {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    for name, value in network.items():
        part, _, last = name.rpartition(".")
        if part.startswith("blocks."):
            _, stage, place, layer = part.split(".")
            number = blocks.index((int(stage), int(place)))
            layers = ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]
            theirs = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
            if not number:  # which does not expand
                layers, theirs = ["conv_dw", "bn1", "conv_pw", "bn2"], theirs[2:]
            port[f"_blocks.{number}.{theirs[layers.index(layer)]}.{last}"] = value
        else:
            port[f"{old[part]}.{last}"] = value
    path = folder / imagenet.BELOW_DATA
    path.parent.mkdir(parents=True)
    save_file({name: value.half() for name, value in (port | changes).items() if value is not None}, path)


def test_imagenet_is_the_network_whose_weights_the_file_holds(tmp_path, network):
    write_port(tmp_path / "data", network)
    backbone = open_start_backbone("imagenet")
    assert (backbone.num_features, backbone.config.image_size) == (1280, 128)
    found = backbone.network.state_dict()
    for name, value in network.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-6)
    # Bytes minus 127, divided by 128.
    normalized = backbone.normalization(torch.tensor([0.0, 127 / 255, 1.0]).view(3, 1, 1, 1).expand(3, 3, 1, 1))
    torch.testing.assert_close(normalized[:, 0, 0, 0], torch.tensor([-127 / 128, 0.0, 1.0]))


def test_weights_of_an_installed_package_are_read_without_unpickling(tmp_path, monkeypatch):
    models = tmp_path / "weights_of_a_test" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(imagenet, "PACKAGE", "weights_of_a_test")
    torch.save({"_conv_stem.weight": IMAGES[0]}, models / "lite0.pth")
    with pytest.raises(ValueError, match=r"lite0\.pth cannot be read .*[Ww]eights.only"):
        open_start_backbone("imagenet")


def test_a_folder_opens_as_it_was_saved(tmp_path):
    saved = small_resnet(4, "10", channels=1).eval()
    save_backbone(saved, tmp_path / "net")
    backbone = open_start_backbone(tmp_path / "net")
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(backbone(images), saved(images))
    assert (backbone.training, backbone.config.image_size) == (False, 32)
    assert open_start_encoder(tmp_path / "net", image_size=16)(IMAGES).shape == (2, 32)
    save_backbone(build_backbone("vit_tiny_patch16_224", image_size=32, depth=1), tmp_path / "vit")
    assert open_start_encoder(tmp_path / "vit").image_size == 32


def test_opening_draws_nothing_and_gives_the_same_each_time():
    state = torch.get_rng_state()
    for name in ("random", "distilled", "pixels"):
        found = open_start_encoder(name)
        assert found.name.startswith(name)
        np.testing.assert_array_equal(found(IMAGES), open_start_encoder(name)(IMAGES))
    assert torch.equal(torch.get_rng_state(), state)
    assert set(START_ENCODERS) == {"imagenet", "random", "distilled", "pixels"}


def test_the_encoder_that_ships_is_trained_and_stored_in_half_precision():
    backbone = open_start_backbone("distilled")
    assert {value.dtype for value in backbone.state_dict().values()} == {torch.float32, torch.int64}
    assert (SHIPPED / "model.safetensors").stat().st_size < 1_300_000
    counts = [value for name, value in backbone.state_dict().items() if name.endswith("num_batches_tracked")]
    assert min(counts) > 0
    assert json.loads((SHIPPED / "config.json").read_text())["num_features"] == backbone.num_features


@pytest.mark.parametrize(
    ("name", "size", "kind", "words"),
    [
        ("imagenet", None, FileNotFoundError, r"pip install vl-explorer\[imagenet\].* VL_DATA .*efficientnet_lite0/"),
        ("image-net", None, FileNotFoundError, "must be one of distilled, .* did you mean 'imagenet'"),
        ("nowhere/at/all", None, FileNotFoundError, "a folder of vl-ssl, got 'nowhere/at/all'; check the path"),
        ("pixels", None, ValueError, "must be a network, got 'pixels'"),
        ("random", 0, ValueError, "image_size must be at least 1, got 0"),
        (".", None, ValueError, "holds no backbone: config.json is missing"),
    ],
)
def test_what_is_no_start_backbone_is_refused(name, size, kind, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=words):
        open_start_backbone(name, image_size=size)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"_conv_stem.weight": None}, "conv_stem.weight"),
        ({"_conv_stem.weight": torch.zeros(32, 1, 3, 3)}, "size mismatch"),
        ({"_blocks.16._bn1.weight": torch.zeros(3)}, "_blocks.16._bn1.weight"),
    ],
)
def test_weights_of_another_network_are_refused(changes, words, tmp_path, network):
    write_port(tmp_path / "data", network, **changes)
    with pytest.raises(ValueError, match=f"does not hold the weights of EfficientNet-Lite0 .*{words}"):
        open_start_backbone("imagenet")
