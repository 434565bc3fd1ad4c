"""The posterior over candidate classes, and the gates that use it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation.evidence import ClassEvidence, paired_standard_error
from vl_diffusion.adaptation.gates import EvidenceGate, PairedGate
from vl_diffusion.adaptation.losses import DiffusionTTA, Entropy
from vl_diffusion.adaptation.tasks import DepthTask
from vl_diffusion.models.families.callable import CallableDenoiser
from vl_diffusion.models.schedule import NoiseSchedule

CLASSES = ("dark", "gray", "light", "white")
SCHEDULE = NoiseSchedule.from_config({"beta_schedule": "linear"})


class Brightness(nn.Module):
    """Returns the same logits for every image."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images):
        return self.logits.expand(len(images), -1) + 0 * images.mean((1, 2, 3))[:, None]


def denoiser_of_uniform_images():
    """The optimal denoiser of uniform images with brightness -0.9, -0.3, 0.3 or 0.9, by class."""

    def predict(x_t, time, brightness):
        alpha, sigma = (level.view(-1, 1, 1, 1) for level in SCHEDULE.levels(time.numpy()))
        return (x_t - alpha * brightness[:, :1, None, None]) / sigma

    return CallableDenoiser(
        predict,
        SCHEDULE,
        image_size=8,
        image_channels=1,
        encode_classes=lambda names: torch.linspace(-0.9, 0.9, len(CLASSES))[[CLASSES.index(n) for n in names], None],
    )


def uniform(*brightness):
    """Images in [0, 1] of a brightness in [-1, 1] each."""
    return torch.stack([torch.full((1, 8, 8), (1 + one) / 2) for one in brightness])


# Times at which the classes of this denoiser differ.
TIMES = (0.1, 0.5)


def adapter(logits=(2.0, 1.0, 0.0, 0.0), **settings):
    defaults = {"classes": CLASSES, "objective": ClassEvidence(time_range=TIMES), "learning_rate": 0.3, "steps": 20}
    return TestTimeAdapter(Brightness(logits), denoiser_of_uniform_images(), **(defaults | settings))


def seen(evidence, logits, images):
    """The posterior that an adapter computes."""
    found = []

    class Spy(ClassEvidence):
        def parts(self, output, context, update):
            found.append(self.posterior(context))
            return iter(())

    spy = Spy(**{name: getattr(evidence, name) for name in ("draws", "top", "prior", "sharpness", "time_range")})
    result = adapter(logits, objective=spy, gate=None)(images)
    return torch.cat(found), result


def test_standard_error_ignores_effects_of_classes_and_draws():
    generator = torch.Generator().manual_seed(0)
    noise = 0.5 * torch.randn(2000, 4, 9, generator=generator)
    errors = noise + torch.randn(2000, 1, 9, generator=generator) * 10 + torch.randn(2000, 4, 1, generator=generator)
    # The variance of a mean difference is 2 * 0.25 / 9.
    torch.testing.assert_close(paired_standard_error(errors).square().mean(), torch.tensor(0.5 / 9), rtol=0.02, atol=0)
    assert (paired_standard_error(torch.ones(1, 3, 2)) > 0).all()


def test_posterior_follows_the_errors_and_falls_back_to_the_classifier():
    logits = (2.0, 1.0, 0.0, -1.0)
    posterior, result = seen(ClassEvidence(draws=4, top=3, prior=0.5, time_range=TIMES), logits, uniform(-0.9, 0.3))
    torch.testing.assert_close(posterior.sum(1), torch.ones(2))
    assert posterior.argmax(1).tolist() == [0, 2]
    assert (posterior[:, 3] == 0).all()
    assert result.forward_passes.tolist() == [12, 12]
    assert result.backward_passes.tolist() == [0, 0]
    tepid, _ = seen(ClassEvidence(draws=4, top=3, prior=0.5, sharpness=1e9), logits, uniform(0.3))
    torch.testing.assert_close(tepid[0, :3], (0.5 * torch.tensor(logits)).log_softmax(0)[:3].softmax(0))


def test_evidence_is_evaluated_once_for_any_number_of_updates():
    for steps in (1, 7):
        result = adapter(objective=ClassEvidence(draws=4, top=3), steps=steps, gate=None)(uniform(0.3))
        assert result.forward_passes.tolist() == [12]
        assert result.updates.tolist() == [steps]


def test_a_time_range_may_be_a_list():
    listed = ClassEvidence(draws=4, top=3, time_range=list(TIMES))
    assert listed == ClassEvidence(draws=4, top=3, time_range=TIMES)
    assert adapter(objective=listed)(uniform(0.3)).forward_passes.tolist() == [12]


def test_default_corrects_a_wrong_prediction_and_leaves_a_correct_one():
    wrong = adapter()(uniform(0.3, -0.3))
    assert wrong.source_predictions.tolist() == [0, 0]
    assert wrong.predictions.tolist() == [2, 1]
    assert (wrong.updates < 20).all(), "it stops when the prediction is good enough"
    assert wrong.forward_passes.tolist() == [36, 36]
    right = adapter((6.0, 0.0, 0.0, 0.0))(uniform(-0.9))
    assert not right.adapted.any()
    assert torch.equal(right.outputs, right.source)


def test_a_gate_rejects_images_with_undecided_evidence():
    settings = {"logits": (0.3, 0.2, 0.1, 0.0), "objective": ClassEvidence(sharpness=10.0, time_range=TIMES)}
    assert adapter(**settings, gate=EvidenceGate(settings["objective"], odds=1.0))(uniform(0.3)).adapted.all()
    result = adapter(**settings, gate=EvidenceGate(settings["objective"], odds=5.0))(uniform(0.3))
    assert not result.adapted.any()
    assert torch.equal(result.outputs, result.source)


def test_an_update_against_the_evidence_is_undone():
    """An objective that pushes from dark to gray, while the image is light."""
    gate = EvidenceGate(ClassEvidence(top=4, time_range=TIMES))
    push = adapter((1.0, 0.9, 0.8, 0.0), objective=Push(1), gate=gate, steps=3)
    result = push(uniform(0.3))
    assert result.predictions.tolist() == [0]
    assert result.updates.tolist() == [0]
    free = adapter((1.0, 0.9, 0.8, 0.0), objective=Push(1), gate=None, steps=3)(uniform(0.3))
    assert free.predictions.tolist() == [1]


def test_a_gate_may_use_more_evidence_than_the_objective():
    objective = ClassEvidence(draws=3, top=2, time_range=TIMES)
    gate = EvidenceGate(ClassEvidence(draws=5, top=4, time_range=TIMES))
    result = adapter(objective=objective, gate=gate)(uniform(0.3))
    assert result.forward_passes.tolist() == [3 * 2 + 5 * 4]
    # The objective's candidates are the first two classes, neither of which is correct.
    assert result.predictions.tolist() != [2]


def test_non_finite_errors_warn_and_teach_nothing():
    broken = denoiser_of_uniform_images()
    predict = broken.predict
    broken.predict = lambda *given: predict(*given) * math.nan
    adapting = TestTimeAdapter(Brightness((2.0, 1.0, 0.0, 0.0)), broken, classes=CLASSES)
    with pytest.warns(RuntimeWarning, match=r"errors of 1 images are not finite, so nothing is learned"):
        result = adapting(uniform(0.3))
    assert not result.adapted.any()
    assert torch.equal(result.outputs, result.source)


class Push:
    """Makes one class likelier."""

    def __init__(self, label):
        self.label = label

    def parts(self, output, context, update):
        yield -output[:, self.label]


@pytest.mark.parametrize("mode", ["online", "continual"])
def test_online_learning_helps_the_next_image(mode):
    student = adapter(mode=mode, images_at_once=1)
    first, second = student(uniform(0.3)), student(uniform(0.3))
    assert first.source_predictions.tolist() == second.source_predictions.tolist() == [0]
    assert first.predictions.tolist() == second.predictions.tolist() == [2]
    assert second.updates < first.updates


def test_defaults_follow_the_task_and_the_objective():
    plain = TestTimeAdapter(Brightness((0.0,) * 4), denoiser_of_uniform_images(), classes=CLASSES)
    assert plain.objective == ClassEvidence()
    assert plain.gate == EvidenceGate(ClassEvidence())
    evidence = ClassEvidence(draws=3)
    assert adapter(objective=evidence).gate == EvidenceGate(evidence)
    assert adapter(objective=DiffusionTTA(4)).gate == EvidenceGate()
    assert adapter(objective=Entropy()).gate is None
    assert adapter(gate=None).gate is None


class Plane(nn.Module):
    """A depth everywhere."""

    def __init__(self):
        super().__init__()
        self.depth = nn.Parameter(torch.tensor(0.4))

    def forward(self, images):
        return self.depth.expand(len(images), 1, 8, 8)


class Depths(CallableDenoiser):
    """Expects images as bright as they are far: -1 to 1 for depths of 0 to 1."""

    condition_size, condition_channels = 8, 1


@pytest.mark.parametrize(("sign", "kept"), [(1, True), (-1, False)])
def test_paired_gate_keeps_updates_that_lower_the_error_on_held_out_draws(sign, kept):
    def predict(x_t, time, depth):
        alpha, sigma = (level.view(-1, 1, 1, 1) for level in SCHEDULE.levels(time.numpy()))
        return (x_t - alpha * depth) / sigma

    denoiser = Depths(predict, SCHEDULE, image_size=8, image_channels=1, encode_classes=lambda names: torch.zeros(1, 1))
    objective = Uphill() if sign < 0 else DiffusionTTA(4)
    settings = {"objective": objective, "gate": PairedGate(4), "learning_rate": 0.02, "steps": 3}
    result = TestTimeAdapter(Plane(), denoiser, task=DepthTask(denoiser), **settings)(uniform(0.3))
    assert result.adapted.tolist() == [kept]
    assert math.isclose(float(result.source.mean()), 0.4, rel_tol=1e-5)
    assert (result.outputs != result.source).any() == kept
    # Before and after each update, on 4 draws.
    assert result.forward_passes.tolist() == [3 * 4 + 4 * 4 if kept else 4 + 4]


def test_paired_gate_does_not_credit_an_adapted_denoiser():
    """The prediction stays as it is, and the denoiser gets better at everything."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.5))

        def forward(self, x_t, time, depth):
            return self.scale * x_t + 0 * depth

    denoiser = Depths(
        Scaled(), SCHEDULE, image_size=8, image_channels=1, encode_classes=lambda names: torch.zeros(1, 1)
    )
    settings = {"gate": PairedGate(4), "adapt_denoiser": "all", "learning_rate": 0.05, "steps": 3}
    result = TestTimeAdapter(Plane(), denoiser, task=DepthTask(denoiser), objective=DiffusionTTA(4), **settings)(
        uniform(0.3)
    )
    assert not result.adapted.any()


class Uphill:
    """Makes everything nearer."""

    def parts(self, output, context, update):
        yield output.flatten(1).mean(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassEvidence(draws=1), r"draws and top must be at least 2, got 1 and 5"),
        (lambda: ClassEvidence(top=1), r"draws and top must be at least 2, got 9 and 1"),
        (lambda: ClassEvidence(prior=-1), r"prior must be 0 or more, sharpness positive, got -1 and 1.0"),
        (lambda: ClassEvidence(time_range=(0.5, 0.5)), r"0 <= first < last <= 1"),
        (lambda: EvidenceGate(odds=0.5), r"odds must be at least 1 and enough in \(0, 1\], got 0.5 and 0.9"),
        (lambda: PairedGate(draws=1), r"draws must be at least 2"),
        (lambda: PairedGate(standard_errors=-1), r"standard_errors 0 or more, got 16 and -1"),
    ],
)
def test_invalid_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
