"""Weights over time against their formulas, learned weights, and error spaces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from vl_core.noise import gaussian, make_keys
from vl_diffusion import (
    DiffusionClassifier,
    Exhaustive,
    LearnedWeighting,
    NoiseSchedule,
    Staged,
    draw_errors,
    fit_weighting,
)
from vl_diffusion.models.images import content_id
from vl_diffusion.scoring.weighting import draw_weights

NAMES = ("black", "dark", "bright", "white")
VP = NoiseSchedule.from_config({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012})
FLOW = NoiseSchedule.flow_matching(np.arange(1, 101) / 100)


class OneGrayPerClass:
    """A denoiser of classes with one gray each, slightly off, in every prediction type."""

    image_size, image_channels = 4, 1
    class_names: tuple[str, ...] | None = NAMES
    device = torch.device("cpu")

    def __init__(self, schedule: NoiseSchedule = VP) -> None:
        self.schedule = schedule

    def encode_images(self, images: Tensor) -> Tensor:
        return images * 2 - 1

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        return torch.tensor([NAMES.index(name) / 1.5 - 1 for name in classes])

    def predict(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        step = np.searchsorted(self.schedule.times, time.double().numpy() - 1e-3)
        alpha, sigma = (level.view(-1, 1, 1, 1) for level in self.schedule.levels(step))
        image = condition.view(-1, 1, 1, 1).expand_as(x_t)
        epsilon = (x_t - alpha * image) / sigma
        return {
            "epsilon": epsilon,
            "v_prediction": alpha * epsilon - sigma * image,
            "flow_prediction": epsilon - image,
            "sample": image,
        }[self.schedule.prediction]


def images(count: int) -> list[Tensor]:
    return list(torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("schedule", [VP, FLOW], ids=["vp", "flow"])
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("uniform", lambda t, a, s: np.ones_like(t)),
        ("exponential", lambda t, a, s: np.exp(-7 * t)),
        ("snr", lambda t, a, s: a**2 / s**2),
        ("min_snr", lambda t, a, s: np.minimum(a**2 / s**2, 5)),
        (lambda t, a, s: t * a + s, lambda t, a, s: t * a + s),
    ],
    ids=["uniform", "exponential", "snr", "min_snr", "own"],
)
def test_weights_are_the_formula_with_a_mean_of_one(schedule, name, formula):
    steps = schedule.steps(20)
    weights = formula((steps + 0.5) / len(schedule), schedule.alpha[steps], schedule.sigma[steps])
    np.testing.assert_allclose(draw_weights(name, schedule, steps), weights / weights.mean(), rtol=1e-12)


@pytest.mark.parametrize("search", [Exhaustive(10), Staged((3, 10), (2, 1))])
def test_the_classifier_weights_each_draw(search):
    image = images(3)
    plain = draw_errors(DiffusionClassifier(OneGrayPerClass(), search=search), image)
    result = DiffusionClassifier(OneGrayPerClass(), search=search, weighting="exponential").classify(image)
    weights = np.exp(-7 * plain.times)
    table = plain.errors * weights / weights.mean()
    for i in range(3):
        for k in range(4):
            seen = search.stages()[0] if result.draws[i, k] == 3 else np.arange(10)
            assert result.errors[i, k] == pytest.approx(table[i, k, seen].mean(), rel=1e-5)
    best = table.mean(2).argmin(1) if isinstance(search, Exhaustive) else result.predictions
    np.testing.assert_array_equal(result.predictions, best)


@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        ("cosine", "weighting must be a function or one of uniform, exponential, snr, min_snr, got 'cosine'"),
        (lambda t, a, s: -t, "none negative and some positive"),
        (lambda t, a, s: t * 0, "none negative and some positive"),
        (lambda t, a, s: np.full_like(t, np.inf), "finite weights"),
        (lambda t, a, s: t[1:], "weighting must give 5"),
    ],
)
def test_invalid_weights_are_refused(weighting, message):
    with pytest.raises(ValueError, match=message):
        DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(5), weighting=weighting)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (
            NoiseSchedule.variance_preserving(VP.alphas_cumprod, "epsilon"),
            {"epsilon": lambda a, s: 1, "sample": lambda a, s: s / a, "v_prediction": lambda a, s: 1 / a},
        ),
        (
            NoiseSchedule.variance_preserving(VP.alphas_cumprod, "v_prediction"),
            {"epsilon": lambda a, s: 1, "sample": lambda a, s: s / a, "v_prediction": lambda a, s: 1 / a},
        ),
        (FLOW, {"epsilon": lambda a, s: 1, "sample": lambda a, s: s / a, "flow_prediction": lambda a, s: 1 / a}),
    ],
    ids=["epsilon", "v", "flow"],
)
def test_error_spaces_are_tied_by_the_levels(schedule, factors):
    """In epsilon-space the error is ``(alpha / sigma)^2 (x - gray)^2``; in others it is that times a known factor."""
    image = torch.full((1, 4, 4), 0.3)
    steps = schedule.steps(10, (0.05, 0.9))
    alpha, sigma = schedule.alpha[steps], schedule.sigma[steps]
    grays = np.arange(4) / 1.5 - 1
    epsilon = (alpha / sigma) ** 2 * ((0.3 * 2 - 1 - grays) ** 2)[:, None]
    for space, factor in factors.items():
        classifier = DiffusionClassifier(
            OneGrayPerClass(schedule), search=Exhaustive(10), error_space=space, time_range=(0.05, 0.9)
        )
        found = draw_errors(classifier, image).errors[0]
        np.testing.assert_allclose(found, epsilon * factor(alpha, sigma) ** 2, rtol=2e-3, atol=1e-6)


def test_errors_are_scaled_to_their_space_before_the_loss():
    classifier = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(4), objective="l1", error_space="sample")
    found = draw_errors(classifier, torch.full((1, 4, 4), 0.3)).errors[0]
    # An error of the image does not depend on the level, for this network.
    expected = np.abs(0.3 * 2 - 1 - (np.arange(4) / 1.5 - 1))
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 4, 1), rtol=2e-3, atol=1e-6)


def test_draws_lie_within_the_time_range():
    classifier = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(20), time_range=(0.4, 0.6))
    steps = classifier.evaluator.steps
    assert steps[0] == 405
    assert steps[-1] == 595
    np.testing.assert_array_equal(np.diff(steps), 10)
    np.testing.assert_array_equal(VP.steps(7, (0.0, 1.0)), VP.steps(7))


@pytest.mark.parametrize("time_range", [(0.5, 0.5), (-0.1, 1.0), (0.0, 1.1), (0.9, 0.1)])
def test_invalid_time_ranges_are_refused(time_range):
    with pytest.raises(ValueError, match=r"time_range must be two numbers with 0 <= low < high <= 1"):
        DiffusionClassifier(OneGrayPerClass(), time_range=time_range)


def test_the_table_of_draws_equals_a_plain_loop():
    image = images(2)
    found = draw_errors(DiffusionClassifier(OneGrayPerClass(), seed=3, objective="l1", batch_size=5), image, draws=6)
    denoiser = OneGrayPerClass()
    for i in range(2):
        for draw, step in enumerate(VP.steps(6)):
            noise = gaussian(make_keys(3, torch.tensor([content_id(image[i])]), torch.tensor([draw])), (1, 4, 4))
            alpha, sigma = VP.levels(np.array([step]))
            x_t = alpha * (image[i][None] * 2 - 1) + sigma * noise
            for k in range(4):
                output = denoiser.predict(x_t, torch.tensor([step]), denoiser.encode_classes([NAMES[k]]))
                assert found.errors[i, k, draw] == pytest.approx((output - noise).abs().mean().item(), rel=1e-4)
            assert found.times[draw] == (step + 0.5) / 1000
    assert found.image_ids.tolist() == [content_id(p) for p in image]


def test_the_table_of_draws_is_what_a_classification_averages():
    classifier = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(9), weighting="snr", aggregation="vote")
    found = draw_errors(classifier, images(3))
    plain = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(9)).classify(images(3))
    np.testing.assert_allclose(found.errors.mean(2), plain.errors, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, "images is empty"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"draws": 2.5}, "draws must be an integer, got 2.5"),
    ],
)
def test_empty_tables_are_refused(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        draw_errors(DiffusionClassifier(OneGrayPerClass()), **{"images": images(1), **arguments})


def labeled_errors(
    images: int, told_apart: tuple[float, float], seed: int = 0, noise: float = 1.0
) -> tuple[np.ndarray, ...]:
    """Errors of 4 classes on 40 draws; the true class is better within a stretch of time, and all is noise outside."""
    rng = np.random.default_rng(seed)
    times = (np.arange(40) + 0.5) / 40
    labels = rng.integers(0, 4, images)
    errors = 1 + rng.normal(0, noise, (images, 4, 40))
    useful = (times >= told_apart[0]) & (times < told_apart[1])
    errors[:, :, useful] = 1 + rng.normal(0, 0.02, (images, 4, useful.sum()))
    errors[np.arange(images)[:, None], labels[:, None], np.flatnonzero(useful)] -= 0.05
    return errors, labels, times


# A polynomial of degree 6 is wider than the stretch, so that it is given less noise outside.
@pytest.mark.parametrize(("kind", "size", "noise"), [("bucket", 8, 1.0), ("polynomial", 7, 0.1)])
def test_learned_weights_are_large_where_classes_are_told_apart(kind, size, noise):
    errors, labels, times = labeled_errors(60, (0.5, 0.75), noise=noise)
    weighting = fit_weighting(errors, labels, times, kind=kind, buckets=8, degree=6)
    weights = weighting(times)
    useful = (times >= 0.5) & (times < 0.75)
    assert (weights >= 0).all()
    assert len(weighting.values) == size
    assert weights[useful].mean() > 2 * weights[~useful].mean()
    fresh, truths, _ = labeled_errors(400, (0.5, 0.75), seed=1, noise=noise)
    uniform = (fresh.mean(2).argmin(1) == truths).mean()
    learned = ((fresh * weights).mean(2).argmin(1) == truths).mean()
    assert learned > uniform + 0.2


def test_uninformative_errors_leave_weights_uniform():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 40)
    errors = 1 + rng.normal(0, 0.1, (40, 4, 20))
    errors[np.arange(40), labels] -= 0.05
    times = (np.arange(20) + 0.5) / 20
    weights = fit_weighting(errors, labels, times, buckets=10)(times)
    # Every bucket says the same, so the strongest pull is as good as any.
    np.testing.assert_allclose(weights, 1, atol=0.35)
    np.testing.assert_allclose(fit_weighting(errors, labels, times, buckets=10, penalty=1e6)(times), 1, atol=1e-3)


def test_learned_weights_minimize_the_loss_that_the_page_states():
    errors, labels, times = labeled_errors(30, (0.25, 0.5))
    weighting = fit_weighting(errors, labels, times, buckets=4, penalty=0.0)

    def loss(weights: np.ndarray) -> float:
        logits = -(errors * weights[np.minimum((times * 4).astype(int), 3)]).mean(2)
        gaps = logits - logits[np.arange(30), labels][:, None]
        return np.log(np.exp(gaps).sum(1)).mean()

    values = np.array(weighting.values)
    # Only ratios are kept; the likeliest size is found again on a fine grid.
    size = min(np.geomspace(1e-2, 1e3, 2000), key=lambda s: loss(s * values))
    found = loss(size * values)
    for b in range(4):
        for change in (-0.03, 0.03):
            other = values.copy()
            other[b] = max(0, other[b] + change * values.max())
            assert loss(size * other) >= found - 1e-5


def test_times_without_a_draw_take_the_uniform_weight():
    errors, labels, times = labeled_errors(30, (0.0, 0.5))
    weighting = fit_weighting(errors[..., :20], labels, times[:20], buckets=8, penalty=10.0)
    assert weighting.values[4] == pytest.approx(weighting.values[7])
    assert weighting.values[4] > 0


def test_errors_contradicting_the_labels_leave_weights_uniform():
    errors = np.zeros((6, 2, 4))
    errors[:, 0] = 1.0
    weighting = fit_weighting(errors, np.zeros(6, int), np.linspace(0, 1, 4), buckets=2, penalty=0.0)
    assert weighting.values == (1.0, 1.0)


def test_learned_weights_survive_json_and_serve_the_classifier():
    errors, labels, times = labeled_errors(30, (0.25, 0.5))
    weighting = fit_weighting(errors, labels, times, buckets=4)
    again = LearnedWeighting.from_json(weighting.to_json())
    assert again == weighting
    classifier = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(8), weighting=again)
    table = draw_errors(classifier, images(2))
    weights = again(table.times)
    expected = (table.errors * weights / weights.mean()).mean(2)
    np.testing.assert_allclose(classifier.classify(images(2)).errors, expected, rtol=1e-5)


def test_a_polynomial_of_equal_coefficients_is_constant():
    np.testing.assert_allclose(LearnedWeighting("polynomial", (2.0,) * 5)(np.linspace(0, 1, 9)), 2)
    # Bernstein: (1 - t)^2, 2 t (1 - t), t^2.
    np.testing.assert_allclose(LearnedWeighting("polynomial", (0, 1, 0))(np.array([0.3])), 2 * 0.3 * 0.7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearnedWeighting("spline", (1.0,)), "bucket or polynomial, got 'spline'"),
        (lambda: LearnedWeighting("bucket", (1.0, -1.0)), "non-negative"),
        (lambda: LearnedWeighting("bucket", ()), "must be finite"),
        (lambda: LearnedWeighting.from_json("[1]"), "output of LearnedWeighting.to_json"),
        (lambda: LearnedWeighting.from_json('{"kind": "bucket"}'), "output of LearnedWeighting.to_json"),
        (lambda: fit_weighting(np.ones((2, 3)), [0, 1], [0.5]), r"\(images, classes, draws\), got shape \(2, 3\)"),
        (lambda: fit_weighting(np.ones((2, 3, 1)), [0, 3], [0.5]), r"labels must be in 0 \.\.\. 2, got 0 to 3"),
        (lambda: fit_weighting(np.ones((2, 3, 1)), [0, 1], [1.5]), "times must be 1 numbers"),
        (lambda: fit_weighting(np.ones((2, 3, 1)), [0], [0.5]), "labels must be 2 integers"),
        (lambda: fit_weighting(np.ones((1, 3, 1)), [0], [0.5]), "at least two images"),
        (lambda: fit_weighting(np.ones((2, 3, 1)), [0, 1], [0.5], buckets=0), "buckets must be at least 1"),
        (lambda: fit_weighting(np.ones((2, 3, 1)), [0, 1], [0.5], kind="spline"), "bucket or polynomial"),
    ],
)
def test_invalid_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
