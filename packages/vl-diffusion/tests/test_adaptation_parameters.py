"""Selection of adapted parameters: every parameter of published architectures by name, and parts of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)
from vl_diffusion.adaptation.selection import LoRA, ParameterSelection, select_parameters


def resnet():
    return ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))


def convnext():
    return ConvNextForImageClassification(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2))


def vit():
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return ViTForImageClassification(ViTConfig(**sizes, image_size=16, patch_size=8))


class OwnTokens(nn.Module):
    """Holds parameters beside its children, as a ViT written by hand does."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2)
        self.norm = nn.LayerNorm(8)
        self.scale = nn.Parameter(torch.ones(8))
        self.head = nn.Linear(8, 3)


MODELS = {"resnet": resnet, "convnext": convnext, "vit": vit, "own tokens": OwnTokens}


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_all_selects_every_parameter_by_name(build):
    model = build()
    chosen = select_parameters(model, "all")
    assert list(chosen) == [name for name, _ in model.named_parameters()]
    assert sum(p.numel() for p in chosen.values()) == sum(p.numel() for p in model.parameters())


def test_parameters_of_modules_with_children_are_among_them():
    """A walk over modules without children misses these: a quarter of a ViT."""
    names = select_parameters(OwnTokens(), "all").keys()
    assert {"token", "scale", "attention.in_proj_weight", "attention.in_proj_bias"} <= names
    assert {"vit.embeddings.cls_token", "vit.embeddings.position_embeddings"} <= select_parameters(vit(), "all").keys()
    assert any("layer_scale" in name for name in select_parameters(convnext(), "all"))


@pytest.mark.parametrize(
    ("build", "kinds"),
    [
        (resnet, (nn.BatchNorm2d,)),
        (convnext, (nn.LayerNorm,)),
        (vit, (nn.LayerNorm,)),
        (OwnTokens, (nn.LayerNorm,)),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4), nn.RMSNorm(4)), (nn.GroupNorm, nn.RMSNorm)),
    ],
)
def test_norm_selects_scales_and_shifts_of_normalization(build, kinds):
    model = build()
    wanted = {
        f"{path}.{name}"
        for path, module in model.named_modules()
        if isinstance(module, kinds)
        for name, _ in module.named_parameters(recurse=False)
    }
    assert wanted
    assert select_parameters(model, "norm").keys() == wanted


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (resnet, ["classifier.1.weight", "classifier.1.bias"]),
        (convnext, ["classifier.weight", "classifier.bias"]),
        (vit, ["classifier.weight", "classifier.bias"]),
        (OwnTokens, ["head.weight", "head.bias"]),
    ],
)
def test_last_selects_the_layer_of_the_logits(build, wanted):
    assert list(select_parameters(build(), "last")) == wanted


def test_a_pattern_selects_the_names_that_match():
    assert list(select_parameters(OwnTokens(), "attention.out_proj.*")) == [
        "attention.out_proj.weight",
        "attention.out_proj.bias",
    ]
    with pytest.raises(ValueError, match=r"adapt='block.*' selects no parameter of this OwnTokens, which has token"):
        select_parameters(OwnTokens(), "block.*")
    with pytest.raises(ValueError, match="selects no parameter of this Linear"):
        select_parameters(nn.Linear(2, 2), "norm")


@pytest.mark.parametrize("settings", [{"rank": 0}, {"alpha": 0.0}])
def test_a_correction_needs_a_rank_and_a_scale(settings):
    with pytest.raises(ValueError, match="must be"):
        LoRA(**settings)


def test_low_rank_corrections_begin_at_zero_and_have_their_rank():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 6), nn.MultiheadAttention(8, 2))
    selection = ParameterSelection(model, LoRA(rank=2, alpha=6.0))
    assert selection.names == ("0.weight", "2.weight", "3.in_proj_weight", "3.out_proj.weight")
    factors, own = selection.start(), dict(model.named_parameters())
    for name, weight in selection.weights(factors).items():
        torch.testing.assert_close(weight, own[name], rtol=0, atol=0)
    for factor in factors.values():
        factor.data.normal_()
    weights = selection.weights(factors)
    for name in selection.names:
        correction = (weights[name] - own[name]).flatten(1)
        assert torch.linalg.matrix_rank(correction) == 2
        product = factors[f"{name}/up"] @ factors[f"{name}/down"]
        torch.testing.assert_close(correction, 3.0 * product, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(weights[name], own[name]) for name in own.keys() - set(selection.names))
    only = ParameterSelection(model, LoRA(pattern="3.*"))
    assert only.names == ("3.in_proj_weight", "3.out_proj.weight")


def test_selection_copies_parameters_and_leaves_the_model():
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    copies = ParameterSelection(model, "all").start()
    copies["weight"].data += 1
    assert torch.equal(model.weight, before)
    weights = ParameterSelection(model, "bias").weights({"bias": torch.zeros(2, requires_grad=True)})
    assert weights["bias"].requires_grad
    assert not weights["weight"].requires_grad
