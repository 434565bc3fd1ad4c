"""Test-time adaptation on tiny models: faults on the way, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from small_adaptation import CLASSES, Counted, adapt, make_images, same, small_classifier
from torch import nn
from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation.evidence import ClassEvidence
from vl_diffusion.adaptation.losses import DUSA, DiffusionTTA, Entropy
from vl_diffusion.adaptation.tasks import ClassificationTask
from vl_diffusion.models.families.callable import CallableDenoiser
from vl_diffusion.models.loading import load_denoiser
from vl_diffusion.models.schedule import NoiseSchedule


@pytest.fixture
def classifier():
    return small_classifier()


@pytest.fixture
def denoiser(pixel_dit_folder):
    return load_denoiser(pixel_dit_folder)


class Breaking(DiffusionTTA):
    """Raises in a certain update."""

    def parts(self, output, context, update):
        if update == self.top:
            raise MemoryError("no more")
        return super().parts(output, context, update)

    def _among_the_likeliest(self, output, context):
        return output


def test_online_weights_survive_an_error_during_an_image(classifier, denoiser):
    settings = {"mode": "online", "gate": None, "learning_rate": 1e-2, "steps": 3}
    adapter = TestTimeAdapter(classifier, denoiser, objective=DiffusionTTA(4), **settings)
    adapter(make_images(1))
    before = adapter.state_dict()
    adapter.objective = Breaking(4, top=2)
    with pytest.raises(MemoryError):
        adapter(make_images(2)[1:])
    after = adapter.state_dict()
    assert same(after, before)
    adapter.reset()
    with pytest.raises(MemoryError):
        adapter(make_images(2)[1:])
    assert adapter.state_dict() == {}


def test_a_gradient_too_large_to_square_leaves_the_optimizer_unchanged(classifier, denoiser):
    class Huge(DiffusionTTA):
        def parts(self, output, context, update):
            yield 1e25 * output.sum(1)

    settings = {"mode": "online", "gate": None, "learning_rate": 1e-2, "steps": 1}
    adapter = TestTimeAdapter(classifier, denoiser, objective=Huge(4), **settings)
    with pytest.warns(RuntimeWarning, match="was not finite"):
        assert adapter(make_images(1)).restored.tolist() == [1]
    adapter.objective = DiffusionTTA(4)
    result = adapter(make_images(1))
    assert (result.outputs != result.source).any()


def test_a_state_of_other_parameters_is_refused_and_changes_nothing(classifier, denoiser):
    settings = {"mode": "online", "gate": None, "objective": DiffusionTTA(4)}
    adapter = TestTimeAdapter(classifier, denoiser, adapt="layers.1.weight", **settings)
    adapter(make_images(1))
    kept = adapter.state_dict()
    other = TestTimeAdapter(classifier, denoiser, adapt="layers.1.bias", **settings)
    other(make_images(1))
    with pytest.raises(ValueError, match="adapter of other parameters"):
        adapter.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="lacks names, optimizer, values"):
        adapter.load_state_dict({"weights": 1})
    assert same(adapter.state_dict(), kept)


def test_non_finite_gradients_keep_the_last_good_weights(classifier):
    """A denoiser that breaks in the second update: the first update is kept, with a warning."""
    calls = []

    def predict(x_t, time, vector):
        calls.append(len(x_t))
        return x_t * vector[:, :1, None, None] * (math.nan if len(calls) == 2 else 1.0)

    denoiser = CallableDenoiser(
        predict,
        NoiseSchedule.from_config({"beta_schedule": "linear"}),
        image_size=28,
        image_channels=1,
        encode_classes=lambda names: torch.linspace(0, 1, len(names))[:, None],
    )
    settings = {"classes": CLASSES, "objective": DiffusionTTA(4), "gate": None, "learning_rate": 1e-2}
    one = TestTimeAdapter(classifier, denoiser, steps=1, **settings)(make_images(1))
    calls.clear()
    with pytest.warns(RuntimeWarning, match=r"1 images was not finite: .* last good ones"):
        three = TestTimeAdapter(classifier, denoiser, steps=3, **settings)(make_images(1))
    assert torch.equal(three.outputs, one.outputs)
    assert three.restored.tolist() == [1]
    assert three.updates.tolist() == [1]
    assert three.losses[0, 1:].isnan().all()


@pytest.mark.filterwarnings("ignore:a loss, gradient or output")
def test_huge_steps_end_at_the_last_finite_outputs(classifier, denoiser):
    for mode in ("episodic", "online"):
        result = adapt(classifier, denoiser, learning_rate=1e30, steps=3, mode=mode)
        assert torch.isfinite(result.outputs).all()
        assert result.restored.sum() > 0


# ---- Refusals ----


def test_fewer_classes_than_the_denoiser_knows_are_enough(denoiser):
    result = adapt(Counted(classes=2), denoiser, classes=("ship", "cat"))
    assert result.outputs.shape == (3, 2)


def built(**settings):
    """Builds an adapter with these settings."""
    return lambda classifier, denoiser: TestTimeAdapter(classifier, denoiser, **settings)


def adapted_with_nan_pixel(classifier, denoiser):
    images = make_images()
    images[1, 0, 3, 3] = torch.nan
    adapt(classifier, denoiser, images)


def adapted_with_nan_logits(classifier, denoiser):
    with torch.no_grad():
        classifier.layers[-1].bias.fill_(math.nan)
    adapt(classifier, denoiser)


def adapted_without_effect(classifier, denoiser):
    classifier.unused = nn.Linear(2, 2)
    adapt(classifier, denoiser, adapt="unused.*")


def built_to_adapt_a_function(classifier, denoiser):
    function = CallableDenoiser(
        lambda x_t, time, vector: x_t,
        NoiseSchedule.from_config({"beta_schedule": "linear"}),
        image_size=28,
        encode_classes=lambda names: torch.eye(len(names)),
    )
    TestTimeAdapter(classifier, function, classes=CLASSES, objective=DiffusionTTA(4), adapt_denoiser="all")


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (built(mode="forever"), "mode must be one of episodic, online, continual"),
        (built(batch_norm="mine"), "batch_norm must be one of source, batch"),
        (built(optimizer="lbfgs"), "optimizer must be adam, sgd or a function"),
        (built(steps=0), "steps must be at least 1"),
        (built(steps=2.5), "steps must be at least 1 and whole, got 2.5"),
        (built(images_at_once=0), "images_at_once must be at least 1"),
        (built(learning_rate=0.0), "learning_rate must be positive"),
        (built(learning_rate=math.inf), "learning_rate must be positive and finite"),
        (built(restore_rate=2.0), "online_rate and restore_rate must lie in"),
        (built(online_rate=-0.1), "online_rate and restore_rate must lie in"),
        (built(gate="none"), "gate must be a gate, None or 'default', got 'none'"),
        (built(batch_size=0), "batch_size must be at least 1"),
        (built(seed=-1), "seed must be in"),
        (built(adapt="nothing.*"), "selects no parameter"),
        (built(objective=ClassEvidence(), adapt_denoiser="all"), "ClassEvidence has no gradient for the denoiser"),
        (built(classes=("airplane", "zebra")), r"classes must be among the model's 10 .*got 'zebra'"),
        (built_to_adapt_a_function, "adapt_denoiser is given, and CallableDenoiser has no network to adapt"),
        (lambda c, d: TestTimeAdapter(c, None, classes=CLASSES, objective=Entropy(), adapt_denoiser="all"), "pass one"),
        (lambda c, d: TestTimeAdapter(c, None), "denoiser is None, and classes too"),
        (
            lambda c, d: TestTimeAdapter(c, None, classes=CLASSES)(make_images()),
            "evaluates a denoiser, and denoiser is None; pass one",
        ),
        (lambda c, d: ClassificationTask(None, CLASSES).condition(torch.zeros(1, 10)), "the task has none; pass one"),
        (lambda c, d: adapt(c, d, []), "images is empty"),
        (adapted_with_nan_pixel, r"image 1: .*NaN"),
        (adapted_with_nan_logits, "the model's output for image 0 of these is NaN"),
        (adapted_without_effect, r"no adapted parameter has an effect .* choose others with adapt"),
        (
            lambda c, d: adapt(Counted(classes=7), d),
            r"must return logits \(3, 10\), .* classes airplane.*got \(3, 7\)",
        ),
        (lambda c, d: DiffusionTTA(draws=0), "draws must be at least 1"),
        (lambda c, d: DiffusionTTA(time_range=(0.5, 0.5)), "0 <= first < last <= 1"),
        (lambda c, d: DiffusionTTA(top=1), "top must be at least 2"),
        (lambda c, d: DUSA(top=1, sampled=0), "two candidates or more"),
        (lambda c, d: DUSA(time=1.0), "0 <= first < last <= 1"),
    ],
)
def test_invalid_settings_and_inputs_are_refused(classifier, denoiser, attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt(classifier, denoiser)


@pytest.mark.parametrize("settings", [{"gate": object()}, {"objective": Entropy}])
def test_objectives_and_gates_must_be_instances(classifier, denoiser, settings):
    with pytest.raises(TypeError, match="must be an instance with a method"):
        TestTimeAdapter(classifier, denoiser, **settings)
