"""Folders of backbones: what was saved comes back, and damaged folders are refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from vl_core.data import Normalization
from vl_ssl.backbones.backbone import Backbone
from vl_ssl.backbones.building import build_backbone, small_resnet
from vl_ssl.backbones.saving import load_backbone, save_backbone


@pytest.mark.parametrize("kind", ["small", "vit"])
def test_a_saved_backbone_comes_back_with_its_normalization(tmp_path: Path, kind: str) -> None:
    normalization = Normalization((0.3,), (0.4,))
    backbone = (
        small_resnet(4, (1, 2, 1, 1), normalization=normalization)
        if kind == "small"
        else build_backbone("vit_tiny_patch16_224", channels=1, image_size=28, normalization=normalization,
                            patch_size=7, depth=1, embed_dim=24, num_heads=2)
    )  # fmt: skip
    backbone(torch.rand(4, 1, 28, 28))  # moves the statistics of batch norms
    save_backbone(backbone, tmp_path / "model")
    loaded = load_backbone(tmp_path / "model")
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(loaded(images), backbone.eval()(images))
    assert loaded.normalization == normalization
    assert not loaded.training
    # What was loaded can be saved again, and is the same.
    save_backbone(loaded, tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    save_backbone(small_resnet(2, (1, 1, 1, 1)), folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "no_such_network"}, "must be an architecture of timm"),
        ({"name": 3}, "save it again"),
        ({"channels": 2}, "one mean for each of 2 channels"),
        ({"options": {"width": 4, "depth": [1, 1, 1, 1]}}, "size mismatch"),
        ({"options": {"width": 2, "depth": [1, 1, 1, 2]}}, "Missing key"),
        ({"options": {"width": 10**9}}, "more than the weights beside it could fill"),
        ({"options": {"width": 50_000}}, "weights cannot fill"),
        ({"num_features": 3}, "num_features is 3, the network has 16"),
        ({"image_size": 90_000}, "expected at most 4096"),
        ({"std": [0]}, "std must be positive"),
        ({"options": None}, "save it again"),
    ],
)
def test_a_configuration_that_does_not_fit_its_weights_is_refused(
    saved: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = json.loads((saved / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match=message):
        load_backbone(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "config.json is missing"),
        ("model.safetensors", None, "model.safetensors is missing"),
        ("config.json", b"{", "is not JSON"),
        ("config.json", b"[]", "must be a JSON object"),
        ("config.json", b"{}", "KeyError"),
        ("model.safetensors", b"cut off", "not a whole safetensors file"),
    ],
)
def test_a_damaged_folder_is_refused(
    saved: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_backbone(tmp_path)


def test_a_folder_that_is_missing_or_a_network_from_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="save_backbone"):
        load_backbone(tmp_path / "nothing")
    with pytest.raises(ValueError, match="save_for_hf"):
        save_backbone(nn.Flatten(), tmp_path)
    with pytest.raises(ValueError, match="save_for_hf"):
        save_backbone(Backbone(nn.Flatten(), 4, Normalization.none(1)), tmp_path)
    with pytest.raises(ValueError, match="numbers, texts and lists"):
        save_backbone(build_backbone("resnet10t", act_layer=nn.ReLU6), tmp_path)
