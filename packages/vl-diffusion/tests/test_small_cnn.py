"""The small network that is adapted: saved and loaded the same, and no image's logits depend on another's."""

from __future__ import annotations

import json

import pytest
import torch
from vl_diffusion.models.small_cnn import SmallCNN


@pytest.fixture
def model(tiny):
    with tiny.seeded(0):
        return SmallCNN(8, classes=("cat", "dog", "bird"), image_size=16).eval()


def images(count=3):
    return torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def test_save_and_load_give_the_same_logits(model, tmp_path):
    model.save_pretrained(tmp_path / "new" / "folder")
    again = SmallCNN.from_pretrained(tmp_path / "new" / "folder")
    assert torch.equal(again(images()), model(images()))
    assert (again.width, again.classes, again.image_size) == (8, ("cat", "dog", "bird"), 16)
    assert not again.training
    assert SmallCNN.is_in(tmp_path / "new" / "folder")
    assert not SmallCNN.is_in(tmp_path)


def test_logits_do_not_depend_on_the_batch(model):
    torch.testing.assert_close(model(images())[1:2], model(images()[1:2]))
    assert model(images()).shape == (3, 3)


def test_a_width_that_cannot_be_grouped_is_refused():
    with pytest.raises(ValueError, match="width must be a multiple of 8, got 12"):
        SmallCNN(12, classes=("a", "b"))


def test_damaged_files_are_named(model, tmp_path):
    model.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    whole = config.read_text()
    config.write_text(json.dumps(json.loads(whole) | {"width": 16}))
    with pytest.raises(ValueError, match=r"model.safetensors does not match the config.json in the same folder"):
        SmallCNN.from_pretrained(tmp_path)
    for damaged in ("{", "[]", '{"width": 8}'):
        config.write_text(damaged)
        with pytest.raises(ValueError, match=r"config.json must describe a SmallCNN with its width and classes"):
            SmallCNN.from_pretrained(tmp_path)
    config.write_text(whole)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"model.safetensors is not a whole safetensors file"):
        SmallCNN.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError):
        SmallCNN.from_pretrained(tmp_path)


@pytest.mark.parametrize("width", [8_000_000, 8 * 10**9, 80_000])
def test_a_width_that_the_weights_cannot_fill_costs_no_memory(model, tmp_path, width):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"width": width}))
    with pytest.raises(ValueError, match=r"config\.json must describe a SmallCNN .*(could|cannot) fill"):
        SmallCNN.from_pretrained(tmp_path)
