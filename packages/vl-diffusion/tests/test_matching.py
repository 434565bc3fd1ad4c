"""Images and captions whose errors are known in closed form, and scores counted by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from vl_core.results import wilson_interval
from vl_diffusion import (
    DiffusionClassifier,
    Exhaustive,
    NoiseSchedule,
    match,
    match_groups,
    retrieval_scores,
    winoground_scores,
)
from vl_diffusion.models.loading import load_denoiser

DARK, BRIGHT = -0.2, 0.2


class ReadsGray:
    """Reads a gray from a caption, and 0 from an empty one: an image of mean m and variance v has the error
    ``(alpha / sigma)^2 ((m - gray)^2 + v)`` whatever the noise.
    """

    image_size, image_channels = 4, 1
    class_names: tuple[str, ...] | None = None
    device = torch.device("cpu")
    takes_prompts = True

    def __init__(self) -> None:
        self.schedule = NoiseSchedule.from_config({"beta_schedule": "linear"})

    def encode_images(self, images: Tensor) -> Tensor:
        return images * 2 - 1

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        return torch.tensor([float(text or 0) for text in classes])

    def predict(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        alpha, sigma = (level.view(-1, 1, 1, 1) for level in self.schedule.levels(time.numpy()))
        return (x_t - alpha * condition.view(-1, 1, 1, 1)) / sigma


def image(mean: float, texture: float = 0.0) -> Tensor:
    """A chequerboard of this mean and this deviation, in the model's units."""
    board = torch.tensor([1.0, -1.0]).repeat(8).view(4, 4)
    return ((mean + texture * board + 1) / 2)[None]


def level(draws: int) -> float:
    schedule = ReadsGray().schedule
    steps = schedule.steps(draws)
    return float(((schedule.alpha[steps] / schedule.sigma[steps]) ** 2).mean())


def test_errors_are_the_closed_form():
    found = match(
        ReadsGray(), [image(DARK, 0.5), image(0.3)], ["-0.2", "0.2", "0.9"], draws=20, with_unconditional=True
    )
    means, variances, grays = np.array([[DARK], [0.3]]), np.array([[0.25], [0.0]]), np.array([DARK, BRIGHT, 0.9])
    np.testing.assert_allclose(found.errors, level(20) * ((means - grays) ** 2 + variances), rtol=1e-3, atol=1e-5)
    assert found.unconditional_errors is not None
    np.testing.assert_allclose(
        found.unconditional_errors, level(20) * (means**2 + variances)[:, 0], rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(found.scores, found.unconditional_errors[:, None] - found.errors)


def test_the_plainer_image_wins_unless_the_unconditional_error_is_subtracted():
    # The dark image is busy: under the caption "dark", its error is larger than that of the plain bright one.
    images, captions = [image(DARK, 0.5), image(BRIGHT)], [str(DARK), str(BRIGHT)]
    found = match(ReadsGray(), images, captions, draws=10, with_unconditional=True)
    assert found.errors[:, 0].argmin() == 1
    assert found.scores[:, 0].argmax() == 0
    assert found.scores[:, 1].argmax() == 1
    # Captions of one image are told apart either way.
    np.testing.assert_array_equal(found.errors.argmin(1), [0, 1])
    np.testing.assert_array_equal(found.scores.argmax(1), [0, 1])


def test_winoground_on_busy_images():
    busy = [[image(DARK, 0.5), image(BRIGHT)], [image(BRIGHT), image(DARK, 0.5)]]
    captions = [[str(DARK), str(BRIGHT)], [str(BRIGHT), str(DARK)]]
    found = match_groups(ReadsGray(), busy, captions, draws=5, with_unconditional=True)
    assert found.errors.shape == (2, 2, 2)
    raw, fair = winoground_scores(found.errors), winoground_scores(found.errors, found.unconditional_errors)
    assert [raw.text.value, raw.image.value, raw.group.value] == [1, 0, 0]
    assert [fair.text.value, fair.image.value, fair.group.value] == [1, 1, 1]


def test_winoground_scores_are_counted_as_defined():
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(500, 2, 2))
    scores = winoground_scores(errors)
    text = image = group = 0
    for e in errors:
        of_text = e[0, 0] < e[0, 1] and e[1, 1] < e[1, 0]
        of_image = e[0, 0] < e[1, 0] and e[1, 1] < e[0, 1]
        text, image, group = text + of_text, image + of_image, group + (of_text and of_image)
    assert (scores.text.correct, scores.image.correct, scores.group.correct) == (text, image, group)
    # Chance is a quarter, a quarter and a sixth.
    for share, chance in ((scores.text, 1 / 4), (scores.image, 1 / 4), (scores.group, 1 / 6)):
        low, high = share.interval(0.999)
        assert low < chance < high
        assert share.interval() == wilson_interval(share.correct, 500)


def test_a_tie_is_not_correct():
    assert winoground_scores(np.ones((1, 2, 2))).text.correct == 0


def test_matching_with_a_classifier_gives_the_same_errors():
    images, captions = [image(DARK, 0.3), image(0.7)], ["-0.2", "0.2"]
    settings = {"objective": "l1", "weighting": "exponential", "seed": 4}
    classifier = DiffusionClassifier(ReadsGray(), captions, search=Exhaustive(7), prompt_template="{}", **settings)
    found = match(classifier, images, captions, draws=7, **settings)
    np.testing.assert_allclose(found.errors, classifier.classify(images).errors, rtol=1e-5)
    assert found.unconditional_errors is None
    np.testing.assert_array_equal(found.scores, -found.errors)


def test_a_pipeline_matches_as_it_classifies_and_has_an_unconditional_error(sd_folder: Path):
    denoiser = load_denoiser(sd_folder)
    images = list(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    captions = ["a dog on a cat", "a cat on a dog"]
    found = match(denoiser, images, captions, draws=3, with_unconditional=True, batch_size=4)
    classifier = DiffusionClassifier(denoiser, captions, search=Exhaustive(3), prompt_template="{}")
    np.testing.assert_allclose(found.errors, classifier.classify(images).errors, rtol=1e-4)
    empty = match(denoiser, images, [""], draws=3)
    np.testing.assert_allclose(found.unconditional_errors, empty.errors[:, 0], rtol=1e-4)


def test_noise_follows_the_image():
    class Off(ReadsGray):
        def predict(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
            return super().predict(x_t, time, condition) * 0.5

    images = [image(DARK, 0.3), image(0.7), image(0.1)]
    both = match(Off(), images, ["0.1", "0.2"], draws=4, with_unconditional=True, batch_size=3)
    turned = match(Off(), images[::-1], ["0.2", "0.1"], draws=4, with_unconditional=True)
    np.testing.assert_allclose(turned.errors[::-1, ::-1], both.errors, rtol=1e-5)
    np.testing.assert_allclose(turned.unconditional_errors[::-1], both.unconditional_errors, rtol=1e-5)
    ids = match(Off(), images, ["0.1"], draws=4, image_ids=[5, 5, 6]).errors
    assert not np.allclose(ids, both.errors[:, :1])


def test_a_model_may_define_its_unconditional_condition():
    class OneOfTwo(ReadsGray):
        takes_prompts = False

    with pytest.raises(ValueError, match=r"have encode_unconditional\(\) for an unconditional error, got OneOfTwo"):
        match(OneOfTwo(), image(0.0), ["0.1"], draws=2, with_unconditional=True)

    class WithNone(OneOfTwo):
        def encode_unconditional(self) -> Tensor:
            return torch.tensor([0.25])

    found = match(WithNone(), image(0.25), ["0.1"], draws=2, with_unconditional=True)
    np.testing.assert_allclose(found.unconditional_errors, 0, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: match(ReadsGray(), [], ["0.1"]), ValueError, "images is empty"),
        (lambda: match(ReadsGray(), image(0), []), ValueError, "captions is empty"),
        (lambda: match(ReadsGray(), image(0), "0.1"), TypeError, "got the single string '0.1'"),
        (lambda: match(ReadsGray(), image(0), [0.1]), TypeError, r"captions must be strings, got 0\.1 of type float"),
        (lambda: match(ReadsGray(), image(0), ["0"], draws=0), ValueError, "draws must be at least 1"),
        (lambda: match(ReadsGray(), image(0), ["0"], objective="l3"), ValueError, "objective must be one of"),
        (lambda: match(ReadsGray(), image(0), ["0"], error_space="x"), ValueError, "error_space must be one of"),
        (lambda: match(ReadsGray(), image(0), ["0"], objective="vlb"), ValueError, "needs a model that learns a var"),
        (
            lambda: match_groups(ReadsGray(), [[image(0)]], []),
            ValueError,
            "the same number of groups, at least one, got 1 and 0",
        ),
        (
            lambda: match_groups(ReadsGray(), [[image(0)]] * 2, [["0"], ["0", "1"]], draws=1),
            ValueError,
            r"as the first, \(1, 1\), got \(1, 2\) for group 1",
        ),
        (lambda: winoground_scores(np.ones((3, 2))), ValueError, r"\(examples, 2 images, 2 captions\), got"),
        (lambda: winoground_scores(np.full((1, 2, 2), np.nan)), ValueError, "errors must not be NaN"),
        (lambda: winoground_scores(np.ones((1, 2, 2)), np.full((1, 2), np.nan)), ValueError, "unconditional_err.* NaN"),
        (lambda: retrieval_scores(np.ones((3, 2)), np.ones(2)), ValueError, r"got \(2,\) and \(3, 2\)"),
    ],
)
def test_invalid_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
