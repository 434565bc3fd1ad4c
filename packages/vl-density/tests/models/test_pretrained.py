"""Densities that ship with the package: they load, and are what they are said to be."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize(
    ("source", "kind", "error", "message"),
    [
        ("nothing", "PixelCNN", FileNotFoundError, "no density 'nothing': it is neither built in"),
        ("fashion-0", "VAE", ValueError, "kind must be one of PixelCNN, PixelCNNPP, ImageTransformer, got 'VAE'"),
    ],
)
def test_what_cannot_be_loaded_is_named(source, kind, error, message):
    with pytest.raises(error, match=f"^{message}"):
        load_density(source, kind=kind)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    small("transformer").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"holds no PixelCNN: "):
        load_density(tmp_path)
