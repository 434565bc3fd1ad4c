"""Densities that ship with the package: they load, and are what they are said to be."""

from __future__ import annotations

import json

import pytest
import torch
from vl_density.datasets.outside import open_fashion
from vl_density.models.folders import BUILT_IN
from vl_density.models.pretrained import load_density
from vl_density.ood.likelihoods import log_probs
from vl_density.quantization import bits_per_dim

from .small import small


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_densities_know_clothes(name, capsys):
    model = load_density(name)
    log_prob = log_probs(model, open_fashion("test")[:40])
    bits = bits_per_dim(model.log_prob(open_fashion("test")[:1]).new_tensor(log_prob), model.dimensions).mean().item()
    assert bits < (6 if "background" in name else 3.5)
    assert capsys.readouterr() == ("", "")


def test_there_are_four_of_them():
    assert BUILT_IN == ("fashion-0", "fashion-1", "fashion-2", "fashion-background")


@pytest.mark.parametrize("kind", ["PixelCNN", "PixelCNN++", "transformer"])
def test_a_folder_says_which_kind_it_holds(kind, tmp_path):
    model = small(kind).float()
    model.save_pretrained(tmp_path)
    loaded = load_density(tmp_path)
    assert type(loaded) is type(model)
    images = torch.zeros(1, 1, 4, 6)
    assert torch.equal(loaded.log_prob(images), model.log_prob(images))


def test_weights_of_another_kind_are_refused_by_every_class(tmp_path):
    small("PixelCNN").save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="Missing key"):
        type(small("transformer")).from_pretrained(tmp_path)


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^no density 'nothing': it is neither built in"):
        load_density("nothing")
    small("PixelCNN").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "width": 16}))
    with pytest.raises(ValueError, match=r"do not fit config.json beside them: .*size mismatch"):
        load_density(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"width": 16}))
    with pytest.raises(ValueError, match=r"config.json must hold the arguments of PixelCNN, .*, got width"):
        load_density(tmp_path)
