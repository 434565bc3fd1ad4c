"""Test-time adaptation on tiny models: gradients, cost, state and gates."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from small_adaptation import CLASSES, Counted, adapt, make_images, same_state, small_classifier
from torch import nn
from torch.func import functional_call
from vl_core.noise import gaussian, make_keys
from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation.losses import DUSA, DiffusionTTA, Entropy, NoAdaptation
from vl_diffusion.models.denoiser import mix_conditions
from vl_diffusion.models.loading import load_denoiser


@pytest.fixture
def classifier():
    return small_classifier()


@pytest.fixture
def denoiser(pixel_dit_folder):
    return load_denoiser(pixel_dit_folder)


# ---- Gradients ----


def end_to_end(model, denoiser, image, image_id, objective, update=0):
    """Loss and its gradients by one graph from the classifier's weights to the error, written out."""
    schedule, count = denoiser.schedule, objective.draws
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    logits = functional_call(model, weights, (image[None],))
    condition = mix_conditions(denoiser, denoiser.encode_classes(CLASSES), logits.softmax(1).expand(count, -1))
    places = (np.arange(count) + (0.5 + update * (math.sqrt(5) - 1) / 2) % 1) / count
    steps = (places * len(schedule)).astype(int)
    keys = make_keys(0, torch.full((count,), image_id), torch.arange(count) + update * count)
    noise = gaussian(keys, (1, 28, 28))
    alpha, sigma = (level.view(-1, 1, 1, 1) for level in schedule.levels(steps))
    x_t = alpha * (2 * image - 1) + sigma * noise
    loss = (denoiser.predict(x_t, torch.from_numpy(steps), condition) - noise).square().mean()
    return loss, dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_gradient_through_the_outputs_equals_the_end_to_end_gradient(classifier, denoiser, recording, batch_size):
    """In parts of one draw or all at once, with one pass through the classifier."""
    objective, images, ids = DiffusionTTA(draws=6), make_images(2), [11, 12]
    seen = []
    adapter = TestTimeAdapter(
        classifier,
        denoiser,
        objective=objective,
        steps=1,
        batch_size=batch_size,
        optimizer=recording(seen),
    )
    result = adapter(images, image_ids=ids)
    for place, image_id in enumerate(ids):
        loss, gradients = end_to_end(classifier.eval(), denoiser, images[place], image_id, objective)
        assert result.losses[place, 0] == pytest.approx(loss.item(), rel=1e-5)
        for got, wanted in zip(seen[place], gradients.values(), strict=True):
            torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)


def test_an_update_takes_one_pass_through_the_classifier_for_any_number_of_draws(classifier, denoiser):
    result = adapt(classifier, denoiser, objective=DiffusionTTA(draws=40), steps=3, batch_size=4)
    # One look before, one at the beginning, and one after each update.
    assert classifier.forwards == 3 * (1 + 1 + 3)
    assert classifier.backwards == 3 * 3
    assert result.forward_passes.tolist() == result.backward_passes.tolist() == [120] * 3


def test_dusa_needs_no_backward_pass_through_the_denoiser(classifier, denoiser):
    result = adapt(classifier, denoiser, objective=DUSA(draws=2, top=3, sampled=1), steps=2)
    assert result.forward_passes.tolist() == [2 * 2 * 4] * 3
    assert result.backward_passes.tolist() == [0] * 3
    assert (result.outputs != result.source).any(1).all()


def test_dusa_loss_equals_its_formula(classifier, denoiser):
    images, ids = make_images(1), [5]
    result = adapt(classifier, denoiser, images, objective=DUSA(time=0.25, draws=3, top=10, sampled=0), steps=1)
    again = TestTimeAdapter(
        classifier, denoiser, objective=DUSA(time=0.25, draws=3, top=10, sampled=0), steps=1, learning_rate=1e-2
    )(images, image_ids=ids)
    step = int(0.25 * len(denoiser.schedule))
    noise = gaussian(make_keys(0, torch.tensor([5] * 3), torch.arange(3)), (1, 28, 28))
    alpha, sigma = denoiser.schedule.alpha[step], denoiser.schedule.sigma[step]
    x_t = (alpha * (2 * images - 1) + sigma * noise).float()
    with torch.no_grad():
        probabilities = classifier.eval()(images).softmax(1)[0]
        predicted = torch.stack([denoiser.predict(x_t, torch.full((3,), step), torch.full((3,), k)) for k in range(10)])
        mixture = torch.einsum("k,knchw->nchw", probabilities, predicted)
    assert again.losses[0, 0] == pytest.approx((mixture - noise).square().mean().item(), rel=1e-5)
    assert result.losses[0, 0] != again.losses[0, 0]


def test_entropy_is_that_of_the_classes_and_needs_no_denoiser(classifier, denoiser):
    result = adapt(classifier, denoiser, objective=Entropy(), steps=4, learning_rate=1e-2)
    log = result.source.log_softmax(1)
    torch.testing.assert_close(result.losses[:, 0], -(log.exp() * log).sum(1))
    assert (result.losses[:, -1] < result.losses[:, 0]).all()
    assert not result.forward_passes.any()


def test_no_adaptation_returns_the_source_outputs(classifier, denoiser):
    result = adapt(classifier, denoiser, objective=NoAdaptation())
    assert torch.equal(result.outputs, result.source)
    assert not result.adapted.any()
    assert result.losses.isnan().all()


# ---- State ----


@pytest.mark.parametrize("mode", ["episodic", "online", "continual"])
@pytest.mark.parametrize("batch_norm", ["source", "batch"])
def test_model_and_denoiser_are_never_written_to(classifier, denoiser, mode, batch_norm):
    """Every bit, including the buffers of batch normalization and the modes of the layers."""
    classifier.train()
    classifier.layers[3].eval()
    state, of_denoiser = copy.deepcopy(classifier.state_dict()), copy.deepcopy(denoiser.model.state_dict())
    modes = [module.training for module in classifier.modules()]
    too = "transformer_blocks.0.*" if mode == "online" else None
    result = adapt(classifier, denoiser, mode=mode, batch_norm=batch_norm, adapt_denoiser=too)
    assert result.adapted.all()
    assert same_state(classifier, state)
    assert same_state(denoiser.model, of_denoiser)
    assert [module.training for module in classifier.modules()] == modes
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert all(parameter.grad is None for parameter in denoiser.model.parameters())


def test_episodic_images_are_independent_of_their_group(classifier, denoiser):
    together = adapt(classifier, denoiser, images_at_once=3)
    alone = [adapt(classifier, denoiser, make_images()[i : i + 1]) for i in (2, 0, 1)]
    for place, i in enumerate((2, 0, 1)):
        torch.testing.assert_close(together.outputs[i], alone[place].outputs[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.losses[i], alone[place].losses[0], rtol=1e-4, atol=1e-6)


def test_online_weights_carry_over_from_image_to_image(classifier, denoiser):
    twice = torch.cat([make_images(1), make_images(1)])
    online = TestTimeAdapter(classifier, denoiser, objective=DiffusionTTA(4), mode="online", images_at_once=1)
    first = online(twice, image_ids=[1, 1])
    assert not torch.equal(first.outputs[0], first.outputs[1])
    assert torch.equal(first.source[0], first.source[1])
    online.reset()
    again = online(twice[:1], image_ids=[1])
    assert torch.equal(again.outputs[0], first.outputs[0])


def test_an_interrupted_stream_resumes_from_its_state(classifier, denoiser):
    def build():
        return TestTimeAdapter(
            classifier, denoiser, objective=DiffusionTTA(4), mode="online", images_at_once=2, learning_rate=1e-2
        )

    images, ids = make_images(6), list(range(6))
    whole = build()(images, image_ids=ids)
    first, second = build(), build()
    first(images[:4], image_ids=ids[:4])
    second.load_state_dict(first.state_dict())
    rest = second(images[4:], image_ids=ids[4:])
    assert torch.equal(rest.outputs, whole.outputs[4:])
    with pytest.raises(ValueError, match="adapter of other parameters"):
        TestTimeAdapter(classifier, denoiser, mode="online", adapt="last").load_state_dict(first.state_dict())
    with pytest.raises(ValueError, match="has no state to resume from"):
        TestTimeAdapter(classifier, denoiser).load_state_dict(first.state_dict())


def test_a_restore_rate_of_one_returns_to_the_source(classifier, denoiser):
    adapter = TestTimeAdapter(
        classifier,
        denoiser,
        objective=DiffusionTTA(4),
        mode="continual",
        restore_rate=1.0,
        learning_rate=0.1,
        gate=None,
    )
    result = adapter(make_images())
    torch.testing.assert_close(result.outputs, result.source)
    weights = adapter.adapted_weights()
    assert all(torch.equal(weights[name], value) for name, value in classifier.named_parameters())


def test_adapted_weights_load_into_a_model(classifier, denoiser):
    settings = {"objective": DiffusionTTA(4), "mode": "online", "learning_rate": 1e-2, "images_at_once": 3}
    adapter = TestTimeAdapter(classifier, denoiser, adapt="lora", gate=None, **settings)
    result = adapter(make_images())
    other = copy.deepcopy(classifier).eval()
    other.load_state_dict(adapter.adapted_weights(), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(other(make_images()), result.outputs)


@pytest.mark.parametrize(
    "settings", [{}, {"mode": "online"}, {"objective": DUSA()}, {"adapt": "lora", "adapt_denoiser": "lora"}]
)
def test_one_seed_gives_one_result_bit_for_bit(classifier, denoiser, settings):
    first, second = adapt(classifier, denoiser, **settings), adapt(classifier, denoiser, **settings)
    assert torch.equal(first.outputs, second.outputs)
    assert torch.equal(first.losses, second.losses)
    other = adapt(classifier, denoiser, seed=1, **settings)
    assert not torch.equal(first.losses, other.losses)


@pytest.mark.parametrize("objective", [DiffusionTTA(4), DUSA(), DUSA(unconditional=True)])
def test_the_denoiser_can_be_adapted_too(classifier, denoiser, objective):
    frozen = adapt(classifier, denoiser, objective=objective, mode="online", images_at_once=3)
    both = adapt(classifier, denoiser, objective=objective, mode="online", images_at_once=3, adapt_denoiser="all")
    assert not torch.equal(frozen.losses[:, 1], both.losses[:, 1])
    assert both.backward_passes.min() > 0


def test_checkpointing_changes_no_output(classifier, denoiser):
    for extra in ({}, {"adapt_denoiser": "all"}):
        plain = adapt(classifier, denoiser, **extra)
        saved = adapt(classifier, denoiser, checkpointing=True, **extra)
        torch.testing.assert_close(saved.outputs, plain.outputs)


def test_checkpointing_recomputes_the_network(classifier, denoiser, monkeypatch):
    calls, predict = [], denoiser.predict
    monkeypatch.setattr(denoiser, "predict", lambda *given: calls.append(1) or predict(*given))
    adapt(classifier, denoiser)
    plain = len(calls)
    adapt(classifier, denoiser, checkpointing=True)
    assert len(calls) - plain == 2 * plain


def test_bfloat16_autocast_comes_close(classifier, denoiser):
    plain, half = adapt(classifier, denoiser), adapt(classifier, denoiser, autocast=torch.bfloat16)
    torch.testing.assert_close(half.losses, plain.losses, rtol=0.02, atol=0.01)
    assert not torch.equal(half.losses, plain.losses)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_model_is_adapted_in_float32(classifier, denoiser, dtype):
    settings = {"learning_rate": 1e-4, "preprocess": lambda image: image.to(dtype)}
    result = adapt(classifier.to(dtype), denoiser, **settings)
    assert result.restored.tolist() == [0, 0, 0]
    assert result.source.dtype == result.outputs.dtype == torch.float32
    assert (result.outputs != result.source).any()
    adapter = TestTimeAdapter(classifier, denoiser, objective=DiffusionTTA(4), mode="online", gate=None, **settings)
    adapter(make_images())
    assert {weight.dtype for weight in adapter.adapted_weights().values()} == {dtype}


# ---- Gates ----


class FixedGate:
    """Admits some images, keeps a number of updates of each, and stops after a number of them."""

    def __init__(self, admitted, kept, enough=99):
        self.admitted, self.kept, self.enough, self.calls = torch.tensor(admitted), kept, enough, 0

    def admits(self, context):
        return self.admitted

    def keeps(self, context, output):
        self.calls += 1
        return torch.full((len(output),), self.calls <= self.kept)

    def stops(self, context, output):
        return torch.full((len(output),), self.calls == self.enough)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("mode", ["episodic", "online"])
def test_a_gate_stops_updates_that_it_does_not_keep(classifier, denoiser, mode, count):
    settings = {"mode": mode, "images_at_once": 3, "adapt": "last"}
    once = adapt(classifier, denoiser, make_images(count), steps=1, gate=FixedGate([True] * count, 9), **settings)
    result = adapt(classifier, denoiser, make_images(count), steps=3, gate=FixedGate([True] * count, 1), **settings)
    torch.testing.assert_close(result.outputs, once.outputs, rtol=0, atol=0)
    assert result.updates.tolist() == [1] * count
    assert result.adapted.all()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_online_weights_move_a_share_of_the_way_to_the_adapted_ones(classifier, denoiser, share):
    settings = {"objective": DiffusionTTA(4), "adapt": "last", "learning_rate": 1e-2, "images_at_once": 2}
    gate = FixedGate([True, True], 99)
    own = []
    for place in range(2):
        alone = TestTimeAdapter(
            classifier, denoiser, mode="online", online_rate=1.0, gate=FixedGate([True], 99), **settings
        )
        alone(make_images(2)[place : place + 1])
        own.append(alone.adapted_weights())
    adapter = TestTimeAdapter(classifier, denoiser, mode="online", online_rate=share, gate=gate, **settings)
    first = adapter(make_images(2))
    episodic = TestTimeAdapter(classifier, denoiser, gate=FixedGate([True, True], 99), **settings)(make_images(2))
    torch.testing.assert_close(first.outputs, episodic.outputs)
    for name, weight in adapter.adapted_weights().items():
        start = classifier.get_parameter(name)
        wanted = start + share * ((own[0][name] + own[1][name]) / 2 - start)
        torch.testing.assert_close(weight, wanted)


def test_rejected_images_cost_nothing_and_keep_their_outputs(classifier, denoiser):
    result = adapt(classifier, denoiser, gate=FixedGate([True, False, True], 9), images_at_once=3)
    free = adapt(classifier, denoiser, images_at_once=3)
    assert result.adapted.tolist() == [True, False, True]
    assert result.forward_passes.tolist() == [12, 0, 12]
    assert torch.equal(result.outputs[1], result.source[1])
    torch.testing.assert_close(result.outputs[::2], free.outputs[::2], rtol=1e-4, atol=1e-5)
    nobody = adapt(classifier, denoiser, gate=FixedGate([False] * 3, 9), images_at_once=3)
    assert torch.equal(nobody.outputs, nobody.source)


# ---- Prompts ----


def test_a_text_conditional_denoiser_takes_the_class_names(tiny):
    model = Counted(classes=3, channels=3)
    settings = {"classes": ("cat", "dog", "ox"), "objective": DiffusionTTA(4), "gate": None}
    adapter = TestTimeAdapter(model, tiny.stable_diffusion(), **settings)
    result = adapter(make_images(2, 3, 32))
    assert result.outputs.shape == (2, 3)
    assert (result.outputs != result.source).any()


# ---- Without a denoiser ----


def test_entropy_works_without_a_denoiser(classifier):
    settings = {"objective": Entropy(), "adapt": "norm", "mode": "online", "learning_rate": 1e-2}
    result = TestTimeAdapter(classifier, None, classes=CLASSES, **settings)(make_images())
    assert result.forward_passes.tolist() == [0, 0, 0]
    assert (result.outputs != result.source).any()


# ---- Results and callers ----


def test_a_result_is_a_sequence_of_single_results(classifier, denoiser):
    result = adapt(classifier, denoiser)
    assert [len(one) for one in result] == [1, 1, 1]
    assert torch.equal(result[-1].outputs[0], result.outputs[2])
    with pytest.raises(IndexError):
        result[3]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_outputs_are_the_same_under_no_grad_and_inference_mode(classifier, denoiser, mode):
    plain = adapt(classifier, denoiser)
    with mode():
        quiet = adapt(classifier, denoiser, make_images())
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    assert torch.equal(quiet.outputs, plain.outputs)


def test_buffers_that_a_model_writes_stay_unchanged(classifier, denoiser):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = classifier
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, images):
            self.seen += len(images)
            return self.inner(images)

    model = Counting()
    adapt(model, denoiser)
    assert model.seen == 0
