"""Models of any precision, device and kind of output, and images that were not prepared for them."""

from __future__ import annotations

import copy
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation.episode import evaluate
from vl_diffusion.adaptation.losses import DiffusionTTA
from vl_diffusion.adaptation.selection import LoRA, ParameterSelection
from vl_diffusion.models.denoiser import network_of
from vl_diffusion.models.loading import load_denoiser


def small(channels=1, seed=1, classes=10):
    """A small convolutional classifier, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Conv2d(channels, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(3)
        model = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, classes))
        model(torch.rand(16, channels, 28, 28))
    return model


@pytest.fixture
def denoiser(pixel_dit_folder):
    return load_denoiser(pixel_dit_folder)


def some_images(count=2, channels=1, size=28):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(7))


def adapter(model, denoiser, **settings):
    defaults = {"objective": DiffusionTTA(draws=4), "gate": None, "steps": 2, "learning_rate": 1e-2}
    return TestTimeAdapter(model, denoiser, **(defaults | settings))


HALF = {torch.float16: 5e-3, torch.bfloat16: 3e-2, torch.float64: 1e-5}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("dtype", "tolerance"), HALF.items(), ids=str)
def test_a_model_is_called_in_its_own_precision(denoiser, dtype, tolerance, when):
    """It may be converted before the adapter is made or after it."""
    expected = adapter(small(), denoiser)(some_images())
    model = small()
    if when == "before":
        model.to(dtype)
    adapts = adapter(model, denoiser)
    model.to(dtype)
    seen = []
    model[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    found = adapts(some_images())
    assert set(seen) == {dtype}
    assert found.restored.tolist() == [0, 0]
    torch.testing.assert_close(found.outputs.float(), expected.outputs, atol=tolerance, rtol=tolerance)
    assert (found.outputs - found.source).abs().max() > 5 * tolerance


@pytest.mark.parametrize("gate", [None, "default"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_online_weights_follow_a_model_that_is_converted(denoiser, dtype, gate):
    model = small()
    adapts = adapter(model, denoiser, mode="online", gate=gate)
    adapts(some_images())
    model.to(dtype)
    assert adapts(some_images()).outputs.isfinite().all()
    assert {weight.dtype for weight in adapts.adapted_weights().values()} == {dtype}


@pytest.mark.parametrize("adapt", ["all", LoRA(rank=2)], ids=str)
def test_weights_follow_a_model_that_is_moved(adapt):
    """The meta device stands for any other."""
    model = small()
    selection = ParameterSelection(model, adapt)
    adapted = selection.start()
    before = selection.weights(adapted)
    assert {weight.device.type for weight in before.values()} == {"cpu"}
    model.to("meta")
    assert {weight.device.type for weight in selection.weights(adapted).values()} == {"meta"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_conditions_follow_a_denoiser_that_is_converted(sd_folder, dtype):
    """Text embeddings have the precision of the network, which cannot mix them with its own."""
    outputs = []
    for when in ("before", "after"):
        denoiser = load_denoiser(sd_folder)
        network = network_of(denoiser)
        if when == "before":
            network.to(dtype)
        adapts = adapter(small(channels=3, classes=2), denoiser, classes=["cat", "dog"], steps=1)
        network.to(dtype)
        outputs.append(adapts(some_images(1, channels=3)).outputs)
    assert torch.equal(*outputs)


def test_small_gradients_do_not_vanish_in_float16(denoiser, recording):
    """Below a head of small weights they are near the smallest number of float16, 6e-8."""
    gradients = []
    for dtype in (torch.float32, torch.float16):
        model, seen = small().eval(), []
        with torch.no_grad():
            model[-1].weight.mul_(2**-10)
        model.to(dtype)
        adapter(model, denoiser, steps=1, optimizer=recording(seen))(some_images(1))
        gradients.append(torch.cat([gradient.flatten() for gradient in seen[0][:4]]))
    exact, half = gradients
    assert 0 < exact.abs().max() < 1e-4
    assert ((exact - half).norm() / exact.norm()).item() < 0.02


def test_gray_images_are_repeated_for_a_model_of_three_channels(denoiser):
    model, gray = small(channels=3), some_images()
    for settings in ({}, {"mode": "online"}):
        found = adapter(model, denoiser, **settings)(gray)
        expected = adapter(model, denoiser, preprocess=lambda image: image.expand(3, -1, -1), **settings)(gray)
        assert torch.equal(found.outputs, expected.outputs)
        assert torch.equal(found.source, expected.source)
    mixed = [gray[0], some_images(channels=3)[1]]
    assert len(adapter(model, denoiser, mode="online")(mixed)) == 2


@pytest.mark.parametrize(
    ("model", "images"),
    [
        (small(), some_images(channels=3)),
        (small(channels=4), some_images()),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), some_images(size=20)),
    ],
    ids=["color for gray", "gray for four channels", "size"],
)
def test_images_that_do_not_fit_a_model_name_preprocess(denoiser, model, images):
    with pytest.raises(
        ValueError, match=r"the model fails on images \(\d, \d+, \d+\) \(.*\); pass preprocess="
    ) as found:
        adapter(model, denoiser)(images)
    assert "\n" not in str(found.value)
    with pytest.raises(ValueError, match=r"fails on inputs \(\d, 9, \d+\) from preprocess= \(.*\); preprocess must"):
        adapter(model, denoiser, preprocess=lambda image: image[:, :9])(images)


class Fixed(nn.Module):
    """A model that takes images of one shape."""

    def __init__(self, shape, fault="wrong size"):
        super().__init__()
        self.model, self.shape, self.fault = small(channels=shape[0]), shape, fault

    def forward(self, images):
        if images.shape[1] != self.shape[0]:
            raise RuntimeError("wrong channels")
        if images.shape[1:] != self.shape:
            raise ValueError(self.fault)
        return self.model(images)


BATCH_OF_ONE = "Expected more than 1 value per channel when training"


@pytest.mark.parametrize(
    ("model", "preprocess", "error", "message"),
    [
        (small(), lambda image: None, TypeError, "preprocess must return .* as a tensor, such as .*, got NoneType"),
        (small(), lambda image: image.numpy(), TypeError, "preprocess must return .*, got ndarray"),
        (
            small(),
            lambda image: image.convert("L"),
            ValueError,
            r"fails on an image \(1, 28, 28\) \(.*convert.*float32",
        ),
        (
            small(),
            lambda image: image[None],
            ValueError,
            r"inputs \(1, 1, 28, 28\) from .*without a dimension for the b",
        ),
        (
            Fixed((3, 9, 9)),
            None,
            ValueError,
            "wrong channels; with three equal channels: wrong size.*; pass preprocess",
        ),
        (Fixed((3, 9, 9), BATCH_OF_ONE), None, ValueError, r"no statistics of one value \(.*; use batch_norm='source'"),
        (Fixed((1, 9, 9), BATCH_OF_ONE), None, ValueError, r"no statistics of one value \(.*; use batch_norm='source'"),
    ],
    ids=["None", "NumPy", "PIL", "batch", "second failure", "second is of batches", "batches"],
)
def test_the_failure_that_counts_is_named_with_what_mends_it(denoiser, model, preprocess, error, message):
    with pytest.raises(error, match=message) as found:
        adapter(model, denoiser, preprocess=preprocess)(some_images())
    assert "\n" not in str(found.value)


class Centered(nn.Module):
    """A model in float16 whose own constants are in float32."""

    def __init__(self):
        super().__init__()
        self.model, self.mean = small().half(), torch.full((1,), 0.5)

    def forward(self, images):
        return self.model(images - self.mean)


def partly(change):
    """Builds a model with its last layer changed."""

    def build():
        model = small()
        change(model[-1])
        return model

    return build


@pytest.mark.parametrize("prepares", [False, True])
@pytest.mark.parametrize(
    ("build", "weights", "given", "remedy"),
    [
        (partly(lambda layer: layer.half()), "torch.float16 and torch.float32", "torch.float32", "torch.float32"),
        (partly(lambda layer: layer.double()), "torch.float32 and torch.float64", "torch.float32", "torch.float32"),
        (Centered, "torch.float16", "torch.float16", "torch.float32"),
        (partly(lambda layer: layer.to("meta")), "cpu and meta", "torch.float32", None),
    ],
    ids=["head", "double head", "constant", "device"],
)
def test_mixed_precisions_and_devices_are_named_with_what_mends_them(denoiser, build, weights, given, remedy, prepares):
    model, settings = build(), {"preprocess": lambda image: image} if prepares else {}
    advice = f"call model.to({remedy})" if remedy else "load the weights that are on meta"
    with pytest.raises(
        ValueError, match=re.escape(f"whose weights are in {weights}, fails on an input of {given} on cpu")
    ) as found:
        adapter(model, denoiser, **settings)(some_images())
    assert str(found.value).endswith(f"); {advice}")
    assert "\n" not in str(found.value)
    if remedy:
        assert adapter(model.to(torch.float32), denoiser, **settings)(some_images()).outputs.isfinite().all()


def test_whole_numbers_from_preprocess_are_named(denoiser):
    with pytest.raises(
        ValueError, match=r"fails on an input of torch.uint8 on cpu \(.*; return floating-point numbers"
    ):
        adapter(small(), denoiser, preprocess=lambda image: (255 * image).byte())(some_images())


class Wrapped(nn.Module):
    """A model whose logits are returned in another form."""

    def __init__(self, model, form):
        super().__init__()
        self.model, self.form = model, form

    def forward(self, images):
        return self.form(self.model(images))


FORMS = {
    "attribute": lambda logits: SimpleNamespace(logits=logits),
    "key": lambda logits: {"loss": None, "logits": logits},
    "torchvision's key": lambda logits: {"out": logits, "aux": logits + 1},
    "tuple": lambda logits: (logits, logits + 1),
    "list": lambda logits: [logits],
    "tuple of outputs": lambda logits: (SimpleNamespace(logits=logits), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_logits_are_found_in_what_models_return(denoiser, form):
    expected = adapter(small(), denoiser)(some_images())
    assert torch.equal(adapter(Wrapped(small(), FORMS[form]), denoiser)(some_images()).outputs, expected.outputs)


@pytest.mark.parametrize("output", [{"scores": torch.ones(1)}, (), "logits", None], ids=str)
def test_outputs_without_logits_are_refused(output):
    with pytest.raises(TypeError, match=r"must return a tensor, an output with logits, .*got \w+; wrap it"):
        evaluate(Wrapped(nn.Identity(), lambda logits: output), {}, torch.ones(1, 1))


def closing(tensors):
    """An optimizer that needs a closure."""
    return torch.optim.LBFGS(tensors)


@pytest.mark.parametrize(
    ("model", "settings", "error", "message"),
    [
        (nn.DataParallel(small()), {}, ValueError, r"got DataParallel; pass its \.module"),
        (lambda images: images, {}, TypeError, r"must be a torch\.nn\.Module, .* got function"),
        (
            torch.jit.ScriptModule(),
            {},
            TypeError,
            "pass the module that it was traced",
        ),
        (small(), {"denoiser": None}, ValueError, "denoiser is None, and classes too; pass a denoiser, or classes"),
        (small(), {"autocast": "bfloat"}, ValueError, "autocast must be a torch.dtype or one of .*, got 'bfloat'"),
        (small(), {"optimizer": closing}, ValueError, "must step without a closure, got LBFGS; use another"),
    ],
    ids=["DataParallel", "function", "traced", "no denoiser", "autocast", "LBFGS"],
)
def test_what_cannot_be_adapted_is_named(denoiser, model, settings, error, message):
    with pytest.raises(error, match=message):
        adapter(model, **({"denoiser": denoiser} | settings))(some_images(1))


def test_autocast_takes_names(denoiser):
    assert adapter(small(), denoiser, autocast="bf16").autocast == torch.bfloat16


class Fails(nn.Module):
    """A model that fails in its third call."""

    def __init__(self):
        super().__init__()
        self.model, self.calls = small(), 0
        self.model[-1].requires_grad_(False)

    def forward(self, images):
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("the third call")
        return self.model(images)


def test_a_model_is_as_before_after_an_error(denoiser):
    model = Fails()
    state = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    trained = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(RuntimeError, match="the third call"):
        adapter(model, denoiser)(some_images())
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == trained
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
