"""Properties that all methods share: steps from outside, groups, export, precision, and refusals."""

from __future__ import annotations

import doctest
import importlib

import pytest
import timm
import torch
from method_problems import SETTINGS, Backbone, make_method, make_views
from torch import nn
from vl_ssl import (
    BYOL,
    MoCoV3,
    NNSiam,
    SimCLR,
    SimSiam,
    VICReg,
    build_backbone,
    build_method,
    synchronize_batch_norm,
)

NAMES = list(SETTINGS)
MODULES = ["batch_norm", "build", "byol", "distributed", "heads", "method", "moco_v3", "momentum", "nnsiam", "simclr",
           "simsiam", "vicreg"]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_give_what_they_show(name):
    extra = {"torch": torch, "nn": nn, "timm": timm, "SimSiam": SimSiam}
    found = doctest.testmod(importlib.import_module(f"vl_ssl.methods.{name}"), extraglobs=extra)
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("name", NAMES)
def test_loss_falls_and_two_clusters_separate(name):
    method = make_method(name)
    generator = torch.Generator().manual_seed(3)
    prototypes = torch.rand(2, 3, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.arange(16) % 2

    def view():
        return prototypes[labels] + 0.1 * torch.randn(16, 3, 8, 8, generator=generator, dtype=torch.float64)

    # VICReg's weights make its gradients 25 times as large.
    rate = 0.002 if name == "vicreg" else 0.05
    optimizer = torch.optim.SGD(method.parameter_groups(1e-4), lr=rate, momentum=0.9)
    losses = []
    for update in range(40):
        output = method(view(), view())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.after_update(update, 40)
        losses.append(output.loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])
    features = method.export()(view())
    means = torch.stack([features[labels == label].mean(dim=0) for label in (0, 1)])
    assert (torch.cdist(features, means).argmin(dim=1) == labels).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_steps(name):
    def run():
        method = make_method(name)
        optimizer = torch.optim.SGD(method.parameter_groups(0.0), lr=0.1)
        for update in range(3):
            optimizer.zero_grad()
            method(*make_views(seed=update)).loss.backward()
            optimizer.step()
            method.after_update(update, 3)
        return method.state_dict()

    first, second = run(), run()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("name", NAMES)
def test_groups_hold_every_trained_parameter_once(name):
    method = make_method(name)
    groups = method.parameter_groups(0.3)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in method.parameters() if parameter.requires_grad)
    excluded = [group for group in groups if group.get("lars_excluded")]
    assert bool(excluded) == (name not in ("simsiam", "nnsiam"))
    assert all(parameter.ndim == 1 for group in excluded for parameter in group["params"])
    assert [group["weight_decay"] for group in groups] == [0.0 if group in excluded else 0.3 for group in groups]


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_full_precision_under_autocast(name):
    method = make_method(name).float()
    views = [view.float() for view in make_views()]
    with torch.autocast("cpu", torch.bfloat16):
        output = method(*views)
    assert output.loss.dtype == torch.float32
    assert output.loss.isfinite()
    output.loss.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("architecture", ["resnet10t", "vit_tiny_patch16_224"])
def test_export_loads_into_the_same_model(architecture, channels):
    size = {"img_size": 32, "depth": 2} if architecture.startswith("vit") else {}

    def create():
        return timm.create_model(architecture, num_classes=0, in_chans=channels, **size)

    torch.manual_seed(0)
    freeze = {"freeze_patch_embedding": True} if size else {}
    method = synchronize_batch_norm(MoCoV3(create(), hidden=8, predictor_hidden=8, projection=4, **freeze))
    assert {p.requires_grad for n, p in method.backbone.named_parameters() if "patch_embed" in n} <= {False}
    view = torch.rand(2, channels, 32, 32)
    method(view, view.flip(3)).loss.backward()
    exported, fresh = method.export(), create().eval()
    fresh.load_state_dict(exported.state_dict(), strict=True)
    assert torch.equal(exported(view), fresh(view))
    assert {type(layer) for layer in exported.modules()} == {type(layer) for layer in fresh.modules()}
    assert not any(layer.training for layer in exported.modules())
    assert all(p.requires_grad and p.grad is None for p in exported.parameters())
    assert method.training
    with torch.no_grad():
        exported.get_parameter(next(n for n, _ in exported.named_parameters())).zero_()
    assert next(method.backbone.parameters()).any()


@pytest.mark.parametrize(
    ("architecture", "convert"),
    [
        ("resnet10t", nn.SyncBatchNorm.convert_sync_batchnorm),
        ("mobilenetv3_small_050", timm.layers.convert_sync_batchnorm),  # with activations in its normalization
    ],
)
def test_export_is_plain_after_the_conversions_of_pytorch_and_timm_and_without_hooks(architecture, convert):
    torch.manual_seed(0)
    plain = timm.create_model(architecture, num_classes=0).eval()
    images = torch.rand(2, 3, 32, 32)
    expected = plain(images)
    kinds = {name: type(layer) for name, layer in plain.named_modules()}
    method = SimSiam(convert(plain), projection=4, predictor_hidden=3)
    seen = []
    method.backbone.register_forward_hook(lambda *_: seen.append(1))
    method.backbone.register_full_backward_hook(lambda *_: seen.append(1))
    exported = method.export()
    assert torch.equal(exported(images), expected)
    assert {name: type(layer) for name, layer in exported.named_modules()} == kinds
    exported.train()(images).sum().backward()
    assert not seen


def test_export_opens_what_is_around_the_network():
    backbone = build_backbone("resnet10t", channels=1, image_size=32)
    compiled = nn.Module()  # holds the module and knows its attributes, as what torch.compile returns does
    compiled._orig_mod = backbone
    method = SimSiam(compiled, projection=4, predictor_hidden=3)
    exported = method.export()
    assert type(exported) is type(backbone.network)
    exported.load_state_dict(backbone.network.state_dict(), strict=True)


@pytest.mark.parametrize(
    ("name", "settings", "projector", "predictor"),
    [
        ("simsiam", {}, [6, 6, 6, 2048], [2048, 512, 2048]),
        ("nnsiam", {"queue": 4}, [6, 6, 6, 2048], [2048, 512, 2048]),
        ("byol", {}, [6, 4096, 256], [256, 4096, 256]),
        ("moco-v3", {}, [6, 4096, 256], [256, 4096, 256]),
        ("moco-v3", {"projector_layers": 3, "hidden": 9}, [6, 9, 9, 256], [256, 4096, 256]),
        ("simclr", {}, [6, 6, 128], None),
        ("vicreg", {"projection": 64}, [6, 64, 64, 64], None),
    ],
)
def test_heads_have_the_widths_of_the_papers(name, settings, projector, predictor):
    method = build_method(name, Backbone(), **settings)
    for head, widths in ((method.projector, projector), (getattr(method, "predictor", None), predictor)):
        if widths is None:
            assert head is None
            continue
        linear = [layer for layer in head if isinstance(layer, nn.Linear)]
        assert [linear[0].in_features, *[layer.out_features for layer in linear]] == widths
        norms = [layer for layer in head if isinstance(layer, nn.BatchNorm1d)]
        plain = name in ("byol", "simclr", "vicreg") or (head is not method.projector and name != "moco-v3")
        assert [layer.affine for layer in norms] == [True] * (len(widths) - 2) + [False] * (not plain)


def test_every_class_has_its_name():
    made = [type(make_method(name)) for name in NAMES]
    assert made == [SimSiam, BYOL, MoCoV3, NNSiam, SimCLR, VICReg]


VIEW = torch.rand(4, 3, 8, 8)
NO_POOLING = nn.Conv2d(3, 6, 3)
REFUSALS = {
    "one image": (ValueError, r"at least two images, got 1", lambda m: m(VIEW[:1], VIEW[:1])),
    "shapes": (ValueError, r"view_2 must have the shape of view_1, \(4, 3, 8, 8\), got \(4, 3, 6, 6\)",
               lambda m: m(VIEW, VIEW[..., 2:, 2:])),
    "bytes": (TypeError, r"view_2 must be floating point, got torch\.uint8", lambda m: m(VIEW, VIEW.byte())),
    "no batch": (ValueError, r"view_1 must have shape \(B, C, H, W\), got \(3, 8, 8\)", lambda m: m(VIEW[0], VIEW[0])),
    "no pooling": (ValueError, r"backbone must return features \(4, 6\), got \(4, 6, 6, 6\); build it with pooling",
                   lambda _: SimSiam(NO_POOLING, num_features=6)(VIEW, VIEW)),
    "width": (ValueError, r"backbone must return features \(4, 7\), got \(4, 6\)",
              lambda _: SimSiam(Backbone(), num_features=7)(VIEW, VIEW)),
    "unknown width": (ValueError, r"num_features must be given .* got None for Conv2d", lambda _: SimCLR(NO_POOLING)),
    "no width": (ValueError, "num_features must be at least 1, got 0", lambda _: SimCLR(NO_POOLING, num_features=0)),
    "head": (ValueError, r"widths must be .* got \[6, 6, 0\]", lambda _: SimCLR(Backbone(), projection=0)),
    "update": (ValueError, r"update must be from 0 to updates - 1 = 9, got 10", lambda m: m.after_update(10, 10)),
    "momentum": (ValueError, "momentum must be from 0 to 1, got 1.5", lambda _: BYOL(Backbone(), momentum=1.5)),
    "schedule": (ValueError, "momentum_schedule must be 'cosine' or 'constant', got 'line'",
                 lambda _: MoCoV3(Backbone(), momentum_schedule="line")),
    "temperature": (ValueError, "temperature must be above 0 and finite, got 0",
                    lambda _: SimCLR(Backbone(), temperature=0)),
    "patches": (ValueError, "freeze_patch_embedding needs a backbone with a module patch_embed, got Backbone",
                lambda _: MoCoV3(Backbone(), freeze_patch_embedding=True)),
    "layers": (ValueError, "projector_layers must be at least 1, got 0",
               lambda _: MoCoV3(Backbone(), projector_layers=0)),
    "queue": (ValueError, "queue must be at least 1, got 0", lambda _: NNSiam(Backbone(), queue=0)),
    "weights": (ValueError, r"weights must be three finite numbers from 0 up, got \(1, -1, 1\)",
                lambda _: VICReg(Backbone(), weights=(1, -1, 1))),
    "no number": (ValueError, r"weights must be three finite numbers from 0 up, got \(nan, 1, 1\)",
                  lambda _: VICReg(Backbone(), weights=(float("nan"), 1, 1))),
    "name": (ValueError, "name must be one of simsiam, byol, .*, got 'moco'",
             lambda _: build_method("moco", Backbone())),
    "setting": (TypeError, "settings of simclr must be among .*temperature, got queue",
                lambda _: build_method("simclr", Backbone(), queue=3)),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refuses_with_advice(case):
    error, message, call = REFUSALS[case]
    method = make_method("simsiam").float()
    with pytest.raises(error, match=message):
        call(method)
