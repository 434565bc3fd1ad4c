"""Pipelines with low-rank adapters classify with the patched weights."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn
from vl_diffusion import DiffusionClassifier, Exhaustive

BUILDS = ("stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "flux", "pixart")
CLASSES = ("cat", "dog", "bird")
# Of the networks, of CLIP and of T5.
QUERIES_AND_VALUES = ("to_q", "to_v", "q_proj", "v_proj", "q", "v")


class LowRank(nn.Module):
    """A linear layer with ``up @ down`` beside its weight."""

    def __init__(self, layer: nn.Linear, generator: torch.Generator) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.randn(2, layer.in_features, generator=generator))
        self.up = nn.Parameter(torch.randn(layer.out_features, 2, generator=generator) / 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + x @ self.down.T @ self.up.T


def patch(module: nn.Module, *, fuse: bool) -> None:
    """Put adapters on the attention's queries and values, beside the weights or into them."""
    generator = torch.Generator().manual_seed(0)
    layers = [
        (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] in QUERIES_AND_VALUES
    ]
    assert layers
    for name, layer in layers:
        adapter = LowRank(layer, generator)
        if fuse:
            with torch.no_grad():
                layer.weight += adapter.up @ adapter.down
        else:
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, adapter)


def network_of(pipeline) -> nn.Module:
    return getattr(pipeline, "unet", None) or pipeline.transformer


def errors(pipeline) -> np.ndarray:
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    return DiffusionClassifier(pipeline, CLASSES, search=Exhaustive(3)).classify(image).errors


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("part", ["network", "text_encoder"])
def test_adapters_beside_the_weights_are_those_fused_into_them(build, part, tiny):
    bare, beside, fused = (getattr(tiny, build)() for _ in range(3))
    for pipeline, fuse in ((beside, False), (fused, True)):
        patch(network_of(pipeline) if part == "network" else pipeline.text_encoder, fuse=fuse)
    assert np.abs(errors(beside) - errors(bare)).max() > 1e-5
    np.testing.assert_allclose(errors(beside), errors(fused), rtol=1e-5)


# diffusers' own adapters need peft, which the package does without.
if importlib.util.find_spec("peft"):

    @pytest.mark.parametrize("build", BUILDS)
    def test_adapters_of_peft_are_those_fused_into_the_weights(build, tiny):
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
        bare, adapted = (getattr(tiny, build)() for _ in range(2))
        with tiny.seeded(1):
            if build == "pixart":  # whose network takes no adapters itself
                adapted.transformer = get_peft_model(adapted.transformer, config)
            else:
                network_of(adapted).add_adapter(config)
        beside = errors(adapted)
        assert np.abs(beside - errors(bare)).max() > 1e-5
        if build == "pixart":
            adapted.transformer = adapted.transformer.merge_and_unload()
        else:
            network_of(adapted).fuse_lora()
        np.testing.assert_allclose(errors(adapted), beside, rtol=1e-5)
