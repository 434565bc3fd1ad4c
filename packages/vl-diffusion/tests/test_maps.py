"""Error maps: their means are the classifier's errors, and their pixels are known in a toy model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from vl_diffusion import DiffusionClassifier, Exhaustive, NoiseSchedule, Staged, error_maps, evidence_map, upsample_maps
from vl_diffusion.charts.error_maps import draw_error_maps

NAMES = ("left", "right", "nothing")
SCHEDULES = {
    "epsilon": NoiseSchedule.from_config({"beta_schedule": "linear"}),
    "v_prediction": NoiseSchedule.from_config({"beta_schedule": "linear", "prediction_type": "v_prediction"}),
    "sample": NoiseSchedule.from_config({"beta_schedule": "linear", "prediction_type": "sample"}),
    "flow_prediction": NoiseSchedule.flow_matching(np.arange(1, 101) / 100),
}


class HalfIsWhite:
    """A denoiser of classes whose images are white on one half and black on the other."""

    image_size, image_channels = 4, 1
    class_names: tuple[str, ...] | None = NAMES
    device = torch.device("cpu")

    def __init__(self, prediction: str = "epsilon") -> None:
        self.schedule = SCHEDULES[prediction]

    def encode_images(self, images: Tensor) -> Tensor:
        return images * 2 - 1

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        patterns = torch.full((len(classes), 1, 4, 4), -1.0)
        for pattern, name in zip(patterns, classes, strict=True):
            if name != "nothing":
                pattern[..., slice(0, 2) if name == "left" else slice(2, 4)] = 1.0
        return patterns

    def predict(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        step = np.searchsorted(self.schedule.times, time.double().numpy() - 1e-3)
        alpha, sigma = (level.view(-1, 1, 1, 1) for level in self.schedule.levels(step))
        epsilon = (x_t - alpha * condition) / sigma
        return {
            "epsilon": epsilon,
            "v_prediction": alpha * epsilon - sigma * condition,
            "flow_prediction": epsilon - condition,
            "sample": condition,
        }[self.schedule.prediction]


class HalfIsWhiteInWords(HalfIsWhite):
    """The same for prompts, whose second word scales the contrast."""

    takes_prompts = True

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        words = [text.split() for text in classes]
        patterns = super().encode_classes([first for first, _ in words])
        return patterns * torch.tensor([float(second) for _, second in words]).view(-1, 1, 1, 1)


def make_image() -> Tensor:
    return torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("prediction", SCHEDULES)
@pytest.mark.parametrize("objective", ["l2", "l1", "huber"])
def test_the_mean_of_a_map_is_the_error_of_its_class(prediction, objective):
    classifier = DiffusionClassifier(
        HalfIsWhite(prediction),
        search=Exhaustive(9),
        objective=objective,
        error_space="sample",
        weighting="exponential",
        time_range=(0.1, 0.9),
        batch_size=7,
        seed=3,
    )
    maps = error_maps(classifier, make_image())
    assert maps.shape == (3, 4, 4)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps.mean((1, 2)), classifier.classify(make_image()).errors[0], rtol=1e-5)


@pytest.mark.parametrize("folder", ["sd_folder", "sd_v_folder"])
def test_a_pipelines_maps_are_those_of_its_latents(folder, request):
    classifier = DiffusionClassifier.from_pretrained(
        request.getfixturevalue(folder), ["cat", "dog"], search=Exhaustive(4)
    )
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = error_maps(classifier, image)
    assert maps.shape == (2, 16, 16)
    np.testing.assert_allclose(maps.mean((1, 2)), classifier.classify(image).errors[0], rtol=1e-5)


@pytest.mark.parametrize("objective", ["l2", "vlb"])
def test_maps_of_a_model_that_learns_its_variance(dit_folder, objective):
    classifier = DiffusionClassifier.from_pretrained(dit_folder, search=Exhaustive(4), objective=objective)
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = error_maps(classifier, image, ["dog", "cat"])
    of_class = [classifier.classes.index(name) for name in ("dog", "cat")]
    np.testing.assert_allclose(maps.mean((1, 2)), classifier.classify(image).errors[0, of_class], rtol=1e-5)


@pytest.mark.parametrize("combination", ["mean", "best", "logsumexp"])
def test_maps_of_several_prompts_are_combined_as_their_errors_are(combination):
    classifier = DiffusionClassifier(
        HalfIsWhiteInWords(),
        NAMES,
        search=Exhaustive(5),
        prompt_template=["{} 1.0", "{} 0.5", "{} 0.1"],
        prompt_combination=combination,
        temperature=100.0,
    )
    maps = error_maps(classifier, make_image())
    np.testing.assert_allclose(maps.mean((1, 2)), classifier.classify(make_image()).errors[0], rtol=1e-5)


def test_evidence_is_where_the_classes_differ():
    left = torch.zeros(1, 4, 4)
    left[..., :2] = 1
    classifier = DiffusionClassifier(HalfIsWhite(), search=Exhaustive(6))
    maps = dict(zip(NAMES, error_maps(classifier, left), strict=True))
    np.testing.assert_allclose(maps["left"], 0, atol=1e-5)
    evidence = evidence_map(maps["left"], maps["nothing"])
    # Both expect black on the right.
    np.testing.assert_allclose(evidence[:, 2:], 0, atol=1e-5)
    schedule, steps = classifier.denoiser.schedule, classifier.evaluator.steps
    weight = ((schedule.alpha[steps] / schedule.sigma[steps]) ** 2).mean()
    np.testing.assert_allclose(evidence[:, :2], 4 * weight, rtol=1e-3)
    errors = classifier.classify(left).errors[0]
    assert evidence.mean() == pytest.approx(errors[2] - errors[0], rel=1e-4)


def test_fewer_draws_are_the_first_ones_of_a_nested_search():
    class Off(HalfIsWhite):
        def predict(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
            return super().predict(x_t, time, condition) * 0.5

    classifier = DiffusionClassifier(Off(), search=Staged((4, 16), (2, 1)))
    result = classifier.classify(make_image(), image_ids=[7])
    given_up = int(result.draws[0].argmin())
    assert result.draws[0, given_up] == 4
    maps = error_maps(classifier, make_image(), [NAMES[given_up]], draws=4, image_id=7)
    assert maps.mean() == pytest.approx(result.errors[0, given_up], rel=1e-5)
    other = error_maps(classifier, make_image(), [NAMES[given_up]], draws=4, image_id=8)
    assert not np.allclose(maps, other)


def test_maps_are_resized_to_the_center_crop():
    values = np.array([[0.0, 1.0], [2.0, 3.0]])
    whole = upsample_maps(values, 4, 8)
    assert whole.shape == (4, 8)
    assert np.isnan(whole[:, :2]).all()
    assert np.isnan(whole[:, 6:]).all()
    # Bilinear: halfway between pixel centers is a quarter and three quarters of the way.
    np.testing.assert_allclose(whole[0, 2:6], [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(whole[:, 2], [0, 0.5, 1.5, 2])
    assert upsample_maps(np.zeros((5, 3, 2, 2)), 7, 6).shape == (5, 3, 7, 6)
    np.testing.assert_array_equal(upsample_maps(values, 2, 2), values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: error_maps(c, make_image(), ["up"]), "among the classifier's 3, got 'up'"),
        (lambda c: error_maps(c, make_image(), draws=0), r"draws must be in 1 \.\.\. 5.*got 0"),
        (lambda c: error_maps(c, make_image(), draws=6), r"draws must be in 1 \.\.\. 5.*got 6"),
        (lambda c: error_maps(c, make_image(), []), "classes is empty; name at least one"),
        (lambda c: error_maps(c, make_image(), image_id="a"), "image_ids must be integers, got 'a' of type str"),
        (lambda c: evidence_map(np.zeros((4, 4)), np.zeros((1, 4))), r"one shape, got \(4, 4\) and \(1, 4\)"),
        (lambda c: upsample_maps(np.zeros((2, 2)), 0, 3), "height and width must be at least 1, got 0 and 3"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(DiffusionClassifier(HalfIsWhite(), search=Exhaustive(5)))


def test_a_network_that_returns_nan_is_an_error():
    class Broken(HalfIsWhite):
        def predict(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
            return torch.full_like(x_t, torch.nan)

    with pytest.raises(ValueError, match="the error of 'left' at time step 500 must be finite"):
        error_maps(DiffusionClassifier(Broken(), search=Exhaustive(1)), make_image())


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_a_chart_is_drawn(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, shape).astype(np.uint8)
    draw_error_maps(tmp_path / "map.png", image, rng.random((3, 5, 5)), ["cat $5", "dog", "鹿"])
    with Image.open(tmp_path / "map.png") as chart:
        assert chart.width > 600
    with pytest.raises(ValueError, match="name must be one of the 3 classes, got 'bird'"):
        draw_error_maps(tmp_path / "map.png", image, rng.random((3, 5, 5)), ["cat", "dog", "deer"], name="bird")
    with pytest.raises(ValueError, match="same length of at least 2, got 3 and 2"):
        draw_error_maps(tmp_path / "map.png", image, rng.random((3, 5, 5)), ["cat", "dog"])
