"""EfficientNet-Lite0 as a function of its weights, against its published shapes and against its own weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import probe_caltech
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

SHARED = Path(__file__).resolve().parents[5] / "shared/data"


def made_up_weights() -> dict[str, Tensor]:
    """Small random weights of the published architecture: kernel, stride, expansion, width and blocks a stage."""
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, Tensor] = {}

    def layer(kernel: str, norm: str, outputs: int, inputs: int, size: int) -> None:
        weights[f"{kernel}.weight"] = torch.randn(outputs, inputs, size, size, generator=generator) / inputs**0.5
        for part, value in (("running_mean", 0.1), ("running_var", 1.5), ("weight", 0.9), ("bias", 0.2)):
            weights[f"{norm}.{part}"] = torch.full((outputs,), value)

    layer("_conv_stem", "_bn0", 32, 3, 3)
    width, block = 32, 0
    early = ((3, 1, 16, 1), (3, 6, 24, 2), (5, 6, 40, 2), (3, 6, 80, 3))
    late = ((5, 6, 112, 3), (5, 6, 192, 4), (3, 6, 320, 1))
    for size, expansion, outputs, blocks in (*early, *late):
        for _ in range(blocks):
            name, wide = f"_blocks.{block}.", width * expansion
            if expansion > 1:
                layer(f"{name}_expand_conv", f"{name}_bn0", wide, width, 1)
            layer(f"{name}_depthwise_conv", f"{name}_bn1", wide, 1, size)
            layer(f"{name}_project_conv", f"{name}_bn2", outputs, wide, 1)
            width, block = outputs, block + 1
    layer("_conv_head", "_bn1", 1280, 320, 1)
    return weights


def test_features_have_the_published_width_and_depend_on_the_image() -> None:
    images = torch.randint(256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    features = probe_caltech.Features(made_up_weights())(images)
    assert features.shape == (2, 1280)
    assert features.min() >= 0
    assert features.max() <= 6
    assert not torch.equal(features[0], features[1])


@pytest.mark.parametrize(("side", "stride", "padding"), [(8, 2, (0, 1)), (7, 2, (1, 1)), (8, 1, (1, 1))])
def test_a_layer_pads_as_tensorflow_does(side: int, stride: int, padding: tuple[int, int]) -> None:
    weights = made_up_weights()
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    layer = nn.Sequential(
        nn.ZeroPad2d((*padding, *padding)), nn.Conv2d(3, 32, 3, stride, bias=False), nn.BatchNorm2d(32, 1e-3)
    ).eval()
    layer[1].weight.data = weights["_conv_stem.weight"]
    for part in ("running_mean", "running_var", "weight", "bias"):
        getattr(layer[2], part).data = weights[f"_bn0.{part}"]
    found = probe_caltech.Features(weights)._layer(images, "_conv_stem", "_bn0", stride=stride)
    torch.testing.assert_close(found, layer(images).clamp(0, 6))


def test_shared_weights_have_the_names_and_shapes_of_the_architecture() -> None:
    path = SHARED / probe_caltech.WEIGHTS
    if not path.exists():
        pytest.skip(f"needs data that is not committed but lies beside the repository: {path}")
    published = {name: value.shape for name, value in load_file(path).items() if not name.startswith("_fc")}
    assert published == {name: value.shape for name, value in made_up_weights().items()}
    assert np.prod(published["_conv_head.weight"]) == 1280 * 320
