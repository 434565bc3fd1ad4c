"""Backbones by name: pooled features, any number of channels, images in [0, 1], and clear refusals."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn
from vl_core.data import Normalization
from vl_ssl.backbones.backbone import Backbone, export_backbone
from vl_ssl.backbones.building import build_backbone, small_resnet
from vl_ssl.backbones.checking import check_backbone, evaluating

TINY_VIT = {"patch_size": 7, "depth": 1, "embed_dim": 24, "num_heads": 2}


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize(("name", "options"), [("resnet10t", {}), ("vit_tiny_patch16_224", TINY_VIT)])
def test_backbones_of_timm_take_any_number_of_channels(name: str, options: dict[str, int], channels: int) -> None:
    backbone = build_backbone(name, channels=channels, image_size=28, **options)
    assert backbone(torch.rand(2, channels, 28, 28)).shape == (2, backbone.num_features)
    assert backbone.training


def test_images_are_normalized_before_the_network() -> None:
    normalization = Normalization((0.2, 0.3), (0.5, 2.0))
    backbone = Backbone(nn.Flatten(), 8, normalization)
    images = torch.rand(3, 2, 2, 2)
    assert torch.allclose(backbone(images), normalization(images).flatten(1))
    assert list(backbone.state_dict()) == []


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_an_export_is_plain_and_loads_strictly_into_timms_own_model(name: str) -> None:
    options = {} if name == "resnet10t" else {**TINY_VIT}
    backbone = build_backbone(name, channels=1, image_size=28, **options)
    exported = export_backbone(backbone)
    images = torch.rand(2, 1, 28, 28)
    own_size = {"img_size": 28} if options else {}
    fresh = timm.create_model(name, num_classes=0, in_chans=1, **own_size, **options)
    fresh.load_state_dict(exported.state_dict(), strict=True)
    prepared = Normalization.of(exported)(images)
    assert not exported.training
    assert type(exported) is type(fresh)
    assert torch.allclose(fresh.eval()(prepared), backbone.eval()(images), atol=1e-6)
    # A copy: training on changes the backbone and not what was exported.
    next(backbone.parameters()).data.add_(1)
    assert not torch.equal(next(backbone.parameters()), next(exported.parameters()))


@pytest.mark.parametrize(
    ("block", "depth", "width", "features"),
    [
        ("basic", "18", 8, 64),
        ("bottleneck", "18", 8, 256),
        ("basic", (1, 2, 1, 1), 4, 32),
        ("basic", "50-basic", 2, 16),
    ],
)
def test_small_residual_networks_vary_in_width_depth_and_block(
    block: str, depth: str | tuple[int, ...], width: int, features: int
) -> None:
    backbone = small_resnet(width, depth, block=block)  # type: ignore[arg-type]
    stages = [len(getattr(backbone.network, f"layer{stage}")) for stage in range(1, 5)]
    assert backbone.num_features == features
    assert stages == {"18": [2, 2, 2, 2], "50-basic": [5, 6, 9, 4]}.get(str(depth), list(depth))
    export_backbone(small_resnet(width, depth, block=block)).load_state_dict(  # type: ignore[arg-type]
        export_backbone(backbone).state_dict(), strict=True
    )


def test_the_small_stem_keeps_the_resolution_and_each_block_starts_as_the_identity() -> None:
    network = small_resnet(8).network
    large = small_resnet(8, small_images=False).network
    images = torch.rand(1, 1, 32, 32)
    assert network.conv1(images).shape == (1, 8, 32, 32)
    assert large.maxpool(large.conv1(images)).shape == (1, 8, 8, 8)
    assert not network.layer1[0].bn2.weight.any()


def test_width_64_is_timms_resnet_18_but_for_the_stem() -> None:
    ours = small_resnet(64, "18", channels=3, small_images=False).network.state_dict()
    theirs = timm.create_model("resnet18", num_classes=0).state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: v.shape for name, v in theirs.items()}


class _Restless(nn.Module):
    """Counts its calls in a buffer, in any mode, once in place and once by assignment."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen = self.seen + 1
        return self.norm(images).mean((2, 3))


def test_a_check_leaves_buffers_modes_and_the_generator_as_they_were() -> None:
    module = _Restless().train()
    module.norm.eval()
    before = {name: value.clone() for name, value in module.named_buffers()}
    kept, state = module.seen, torch.get_rng_state()
    assert check_backbone(module, 1, 4) == 1
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())
    assert module.seen is kept
    assert module.training
    assert not module.norm.training
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluating_restores_after_an_error() -> None:
    module = _Restless()
    with pytest.raises(RuntimeError, match="running_mean"), evaluating(module):
        module(torch.zeros(1, 2, 2, 2))
    assert module.training
    assert not module.calls.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnt18"}, "did you mean 'resnet18'"),
        ({"name": "owner/model"}, "must be an architecture of timm"),
        ({"name": "resnet10t", "global_pool": ""}, "pool it: global_pool='avg'"),
        ({"name": "resnet10t", "tint": 1}, "does not take the arguments"),
        ({"name": "resnet10t", "channels": 0}, "channels and image_size must be at least 1"),
        ({"name": "resnet10t", "normalization": Normalization((0.5,), (0.5,))}, "one mean for each of 3 channels"),
        ({"name": "vit_tiny_patch16_224", "image_size": 28}, "pass patch_size=, such as 7"),
        ({"name": "small_resnet", "pretrained": True}, "no published weights"),
        ({"name": "small_resnet", "width": 7}, "width must be even"),
        ({"name": "small_resnet", "depth": "19"}, "depth must be one of 10, 18"),
        ({"name": "small_resnet", "depth": (1, 2)}, "four stages"),
        ({"name": "small_resnet", "block": "wide"}, "'basic' or 'bottleneck'"),
        ({"name": "small_resnet", "tint": 1}, "does not take these arguments"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (nn.Identity(), ValueError, r"shape \(B, d\), here \(2, d\), got \(2, 3, 8, 8\); pool it"),
        (nn.Linear(4, 2), ValueError, r"images of shape \(B, 3, 8, 8\)"),
        (lambda images: images, TypeError, "must be a torch.nn.Module"),
    ],
)
def test_a_module_that_is_no_backbone_is_refused(module: nn.Module, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_backbone(module, 3, 8)


def test_a_transformer_knows_its_size_and_refuses_another() -> None:
    arguments = {"channels": 1, "depth": 1, "embed_dim": 24}
    assert build_backbone("vit_tiny_patch16_224", **arguments).config.image_size == 224  # type: ignore
    backbone = build_backbone("vit_tiny_patch16_224", image_size=32, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"built for, got \(2, 1, 28, 28\): .*; resize them"):
        backbone(torch.zeros(2, 1, 28, 28))
    assert build_backbone("resnet10t", channels=1).config.image_size is None  # type: ignore[union-attr]


def test_images_of_other_channels_are_refused_before_they_broadcast() -> None:
    with pytest.raises(ValueError, match=r"shape \(B, 3, H, W\), got \(2, 1, 8, 8\)"):
        Backbone(nn.Flatten(), 192, Normalization.none(3))(torch.zeros(2, 1, 8, 8))
