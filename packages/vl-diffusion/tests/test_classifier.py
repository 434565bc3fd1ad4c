"""The classifier on a denoiser whose errors are known in closed form."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
import torch
from gray_denoiser import LEVELS, OneGrayPerClass, gray, noisy_images, tree_of_grays
from PIL import Image
from torch import Tensor
from vl_core.data import ImageDataset
from vl_core.noise import gaussian, make_keys
from vl_diffusion import (
    DiffusionClassifier,
    Exhaustive,
    LabelTree,
    NoiseSchedule,
    Racing,
    Shortlist,
    Staged,
    apply_temperature,
)
from vl_diffusion.models.images import content_id, to_tensor
from vl_diffusion.runs.result_log import ResultIndex, ResultLog
from vl_diffusion.search.common_grid import OnGrid


def test_errors_are_the_closed_form():
    classifier = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(20))
    result = classifier.classify([gray(0.3), gray(0.9)])
    signal, level = classifier.denoiser.schedule.levels(classifier.denoiser.schedule.steps(20))
    weight = (signal / level).square().mean().item()
    grays = np.arange(5) / 2 - 1
    expected = weight * np.stack([(0.3 * 2 - 1 - grays) ** 2, (0.9 * 2 - 1 - grays) ** 2])
    np.testing.assert_allclose(result.errors, expected, rtol=2e-4, atol=2e-5)
    assert result.predicted_classes == ("dark", "white")
    assert (result.evaluations == 20).all()


def test_errors_are_those_of_a_plain_loop():
    image = noisy_images(1)[0]
    classifier = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(6), objective="l1", seed=3)
    result = classifier.classify(image)
    denoiser, schedule = classifier.denoiser, classifier.denoiser.schedule
    errors = np.zeros((5, 6))
    for draw, step in enumerate(schedule.steps(6)):
        key = make_keys(3, torch.tensor([content_id(image)]), torch.tensor([draw]))
        noise = gaussian(key, (1, 4, 4))
        signal, level = schedule.levels(np.array([step]))
        x_t = signal * (image[None] * 2 - 1) + level * noise
        for k in range(5):
            condition = denoiser.encode_classes(LEVELS)[[k]]
            errors[k, draw] = (denoiser.predict(x_t, torch.tensor([step]), condition) - noise).abs().mean()
    np.testing.assert_allclose(result.errors[0], errors.mean(1), rtol=1e-5)
    np.testing.assert_allclose(result.standard_errors[0], errors.std(1, ddof=1) / 6**0.5, rtol=1e-5)
    paired = errors - errors[result.predictions[0]]
    np.testing.assert_allclose(result.differences[0], paired.mean(1), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
        result.difference_standard_errors[0], paired.std(1, ddof=1) / 6**0.5, rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize(
    "search", [Exhaustive(12), Staged((3, 6, 12), (3, 2, 1)), Staged((3, 6, 12), (3, 2, 1), "literal")]
)
def test_errors_do_not_depend_on_batch_size_or_order(search):
    images = noisy_images(7)
    plain = DiffusionClassifier(OneGrayPerClass(), search=search, batch_size=64).classify(images)
    for batch_size in (1, 5, 1000):
        again = DiffusionClassifier(OneGrayPerClass(), search=search, batch_size=batch_size).classify(images[::-1])
        np.testing.assert_allclose(again.errors[::-1], plain.errors, rtol=1e-5)
        np.testing.assert_array_equal(again.predictions[::-1], plain.predictions)
        np.testing.assert_array_equal(again.evaluations[::-1], plain.evaluations)
        np.testing.assert_array_equal(again.image_ids[::-1], plain.image_ids)


def test_errors_do_not_depend_on_the_other_images(monkeypatch):
    images = noisy_images(5)
    classifier = DiffusionClassifier(OneGrayPerClass(), search=Staged((2, 8), (2, 1)), batch_size=8)
    together = classifier.classify(images)
    monkeypatch.setattr("vl_diffusion.classification.engine._BATCHES_A_ROUND", 1)
    # Noise is made in blocks; two values a block is the most awkward cut there is.
    monkeypatch.setattr("vl_diffusion.scoring.evaluator._NOISY_VALUES", 2 * 16)
    monkeypatch.setattr("vl_diffusion.scoring.evaluator._COMPARED_VALUES", 16)
    apart = classifier.classify(images)
    np.testing.assert_allclose(apart.errors, together.errors, rtol=1e-5)


def test_the_seed_and_the_image_id_choose_the_noise():
    image = noisy_images(1)
    search = Exhaustive(4)

    def errors(seed: int = 0, **ids: list[int]) -> np.ndarray:
        return (
            DiffusionClassifier(OneGrayPerClass(), search=search, seed=seed, objective="l1")
            .classify(image, **ids)
            .errors
        )

    class Noisy(OneGrayPerClass):
        def predict(self, x_t: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
            return super().predict(x_t, timestep, condition) * 0.5

    def noisy(seed: int = 0, **ids: list[int]) -> np.ndarray:
        return DiffusionClassifier(Noisy(), search=search, seed=seed).classify(image, **ids).errors

    np.testing.assert_array_equal(noisy(), noisy())
    assert not np.allclose(noisy(), noisy(seed=1))
    assert not np.allclose(noisy(image_ids=[1]), noisy(image_ids=[2]))
    np.testing.assert_array_equal(noisy(image_ids=[content_id(image[0])]), noisy())
    # A network that knows the noise is indifferent to it.
    np.testing.assert_allclose(errors(), errors(seed=1), rtol=1e-3)


def test_all_classes_of_a_draw_share_the_noise():
    class Remembers(OneGrayPerClass):
        def predict(self, x_t: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
            self.inputs = getattr(self, "inputs", [])
            self.inputs.extend(zip(timestep.tolist(), map(float, condition), x_t, strict=True))
            return super().predict(x_t, timestep, condition)

    denoiser = Remembers()
    DiffusionClassifier(denoiser, search=Exhaustive(3), batch_size=4).classify(noisy_images(1))
    by_step: dict[int, list[Tensor]] = {}
    for step, _, x_t in denoiser.inputs:
        by_step.setdefault(step, []).append(x_t)
    assert len(by_step) == 3
    for shown in by_step.values():
        assert len(shown) == 5
        assert all(torch.equal(shown[0], other) for other in shown[1:])
    first, second, _ = (shown[0] for shown in by_step.values())
    assert not torch.equal(first, second)


@pytest.mark.parametrize("batch_size", [8, 12, 64])
def test_batches_are_full_across_images_when_few_classes_are_left(batch_size):
    denoiser = OneGrayPerClass()
    DiffusionClassifier(denoiser, search=Staged((2, 4), (2, 1)), batch_size=batch_size).classify(noisy_images(40))
    # 40 images x (5 classes x 2 draws, then 2 classes x 2 draws).
    assert sum(denoiser.shown) == 40 * 14
    assert np.mean(denoiser.shown) / batch_size > 0.85


@pytest.mark.parametrize(("search", "read"), [(Exhaustive(1), 16), (Exhaustive(16), 8), (Exhaustive(250), 8)])
def test_images_are_read_lazily(search, read):
    """Eight are encoded together; cheap ones are taken in until they fill four batches of 16."""
    seen = []

    class Lazy(list):  # type: ignore[type-arg]
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    classifier = DiffusionClassifier(OneGrayPerClass(), search=search, batch_size=16)
    stream = classifier.stream(Lazy(noisy_images(40)))
    next(stream)
    assert seen == list(range(read))


def test_padded_batches_have_one_size_and_equal_results(monkeypatch):
    monkeypatch.setattr("torch.compile", lambda function, dynamic: function)
    denoiser = OneGrayPerClass()
    settings = {"search": Staged((2, 4), (2, 1)), "batch_size": 16}
    padded = DiffusionClassifier(denoiser, compile=True, **settings).classify(noisy_images(5))
    plain = DiffusionClassifier(OneGrayPerClass(), **settings).classify(noisy_images(5))
    assert set(denoiser.shown) == {16}
    np.testing.assert_allclose(padded.errors, plain.errors, rtol=1e-5)
    np.testing.assert_array_equal(padded.evaluations, plain.evaluations)


def test_a_search_can_be_watched():
    classifier = DiffusionClassifier(OneGrayPerClass(), search=Staged((2, 4, 8), (3, 2, 1)))
    seen = list(classifier.watch(gray(0.3)))
    assert [int(result.evaluations.sum()) for result in seen] == [10, 16, 24]
    assert [int(result.pruned.sum()) for result in seen] == [0, 2, 3]
    assert {result.predicted_classes[0] for result in seen} == {"dark"}
    whole = classifier.classify(gray(0.3))
    np.testing.assert_array_equal(seen[-1].errors, whole.errors)
    np.testing.assert_array_equal(seen[-1].probabilities, whole.probabilities)


@pytest.mark.parametrize("search", [Racing(), OnGrid(Racing(), 300), Shortlist(Racing(), top=4), tree_of_grays()])
def test_a_decided_race_prunes_all_others_even_after_equal_draws(search):
    logits = [[1, 2, 3, 2, 1]]
    result = DiffusionClassifier(OneGrayPerClass(), search=search).classify([gray(0.3)], logits=logits)
    winner = result.predictions[0]
    assert (np.delete(result.draws[0], winner) == result.draws[0, winner]).any()
    assert result.pruned.dtype == bool
    assert np.flatnonzero(~result.pruned[0]).tolist() == [winner]


def test_an_undecided_race_prunes_no_remaining_class():
    for search in (Racing(7, level=1e-9, first=7), Racing(max_evaluations=10), Exhaustive(6)):
        result = DiffusionClassifier(OneGrayPerClass(), search=search).classify([gray(0.3)])
        assert not result.pruned.any()
    last = Staged((2, 6), (2, 1))
    assert DiffusionClassifier(OneGrayPerClass(), search=last).classify([gray(0.3)]).pruned.sum() == 3


def test_a_class_is_pruned_only_with_all_its_prompts():
    class Speaks(OneGrayPerClass):
        class_names, takes_prompts = None, True

    prompts = {"light": ["bright", "black"], "deep": ["dark", "middle"]}
    race = DiffusionClassifier(
        Speaks(), list(prompts), prompts=prompts, prompt_combination="best", search=Staged((2, 6), (2, 1))
    )
    # Of the four, dark and middle are left.
    assert race.classify([gray(0.3)]).pruned.tolist() == [[True, False]]
    # Here middle and bright are.
    assert race.classify([gray(0.62)]).pruned.tolist() == [[False, False]]


def test_a_tree_prunes_a_class_left_behind_after_equal_draws():
    tree = LabelTree({"low": LEVELS[:3], "high": LEVELS[3:]}, LEVELS, Exhaustive(8), keep=1, draws=8)
    result = DiffusionClassifier(OneGrayPerClass(), search=tree).classify([gray(0.3)])
    assert result.draws[0].tolist() == [8] * 5
    assert result.pruned[0].tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("search", [Racing(), Exhaustive(3)])
def test_a_result_log_keeps_pruned_classes_and_reads_older_files(search, tmp_path):
    result = DiffusionClassifier(OneGrayPerClass(), search=search).classify([gray(0.3), gray(0.8)])
    path = tmp_path / "results.jsonl"
    with ResultLog(path) as journal:
        journal.append(result)
    read = ResultIndex(tmp_path, LEVELS).collect(result.image_ids)
    for array in fields(result):
        np.testing.assert_array_equal(getattr(read, array.name), getattr(result, array.name))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        del row["pruned"]
        row["draws"][4] -= 1
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    older = ResultIndex(tmp_path, LEVELS).collect(result.image_ids)
    assert older.pruned.dtype == bool
    assert older.pruned.tolist() == [[False, False, False, False, True]] * 2


@pytest.mark.parametrize("combination", ["mean", "best", "logsumexp"])
def test_a_class_that_was_pruned_ahead_is_no_likelier_than_the_winner(combination):
    class GivesUpTheFirst:
        num_draws = 6
        budget = staticmethod(lambda num_classes: 6 * num_classes)

        def requests(self, problem):
            yield np.arange(problem.num_classes), np.array([0, 3])
            others = np.arange(1, problem.num_classes)
            yield others, np.array([1, 2, 4, 5])
            return others[-1]

    class Speaks(OneGrayPerClass):
        class_names, takes_prompts = None, True

    prompts = {"dim": ["dark", "black"], "light": ["bright"], "half": ["middle"]}
    settings = {"prompts": prompts, "prompt_combination": combination, "temperature": 3.0}
    if combination == "mean":
        settings["prompts"] = {name: given[0] for name, given in prompts.items()}
    result = DiffusionClassifier(Speaks(), list(prompts), search=GivesUpTheFirst(), **settings).classify([gray(0.3)])
    assert result.predicted_classes == ("half",)
    assert result.pruned[0, 0] == (combination == "mean")
    # On the draws that both saw, the first class was better.
    assert combination != "mean" or result.differences[0, 0] < 0
    for probabilities in (result.probabilities, apply_temperature(result, 1e-3).probabilities):
        assert probabilities.argmax(1) == result.predictions
        assert probabilities.sum() == pytest.approx(1)
    assert result.runners_up[0] == 0
    # A mixture has both prompts, of which the other is far off.
    assert (result.margins[0] == 0) == (combination != "logsumexp")


def test_cheap_images_finish_first():
    class Impatient(Staged):
        """Ends at once where the first class is right."""

        def requests(self, problem):
            errors = yield np.arange(problem.num_classes), np.array([0])
            if errors[:, 0].argmin() == 0:
                return 0
            return (yield from super().requests(problem))

    classifier = DiffusionClassifier(OneGrayPerClass(), search=Impatient((2, 4), (2, 1)))
    found = dict(classifier.stream([gray(0.5), gray(0.0), gray(1.0)]))
    assert list(found) == [1, 0, 2]
    assert [found[i].predicted_classes[0] for i in range(3)] == ["middle", "black", "white"]


def test_pruned_classes_are_compared_on_common_draws():
    result = DiffusionClassifier(OneGrayPerClass(), search=Staged((2, 10), (2, 1))).classify([gray(0.52)])
    assert result.evaluations[0].tolist() == [2, 2, 10, 10, 2]
    assert result.predicted_classes == ("middle",)
    assert result.differences[0, 2] == 0
    assert (np.delete(result.differences[0], 2) > 0).all()
    assert result.runners_up[0] == 3
    assert result.margins[0] == pytest.approx(result.errors[0, 3] - result.errors[0, 2])


def test_probabilities_are_the_softmax_of_the_summed_error():
    result = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(8)).classify(noisy_images(3))
    weights = np.exp(-16 * (result.errors - result.errors.min(1, keepdims=True)))
    np.testing.assert_allclose(result.probabilities, weights / weights.sum(1, keepdims=True), rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(result.probabilities.sum(1), 1)
    warm = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(8), temperature=100.0).classify(noisy_images(3))
    assert (warm.probabilities.max(1) < result.probabilities.max(1)).all()
    np.testing.assert_array_equal(warm.predictions, result.predictions)


def test_one_image_of_any_kind_is_enough():
    classifier = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(2))
    array = np.full((9, 7, 3), 255, np.uint8)
    for image in (Image.fromarray(array), array, torch.ones(3, 9, 7), torch.ones(1, 1, 4, 4), [array]):
        result = classifier.classify(image)
        assert len(result) == 1
        assert result.predicted_classes == ("white",)


def test_images_are_scaled_cropped_and_made_gray():
    denoiser = OneGrayPerClass()
    seen = []
    denoiser.encode_images = lambda images: seen.append(images) or images * 2 - 1  # type: ignore[method-assign]
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = (255, 0, 0)
    DiffusionClassifier(denoiser, search=Exhaustive(1)).classify([wide, gray(0.25)])
    assert seen[0].shape == (2, 1, 4, 4)
    # Only the red middle is left, apart from the soft edges of the resampling.
    torch.testing.assert_close(seen[0][0, 0, :, 1:3], torch.full((4, 2), 0.299), atol=0.02, rtol=0)
    assert torch.equal(seen[0][1], gray(0.25))


def test_image_errors_are_undefined_in_pure_noise():
    class EndsInNoise(OneGrayPerClass):
        def __init__(self) -> None:
            super().__init__()
            self.schedule = NoiseSchedule.from_config({"beta_schedule": "linear", "rescale_betas_zero_snr": True})

    settings = {"search": Exhaustive(1000), "error_space": "sample"}
    with pytest.raises(ValueError, match=r"of 'sample' is not defined at time step 999 of 1000.*leave the step out"):
        DiffusionClassifier(EndsInNoise(), **settings)
    found = DiffusionClassifier(EndsInNoise(), **settings, time_range=(0, 0.99)).classify(gray(0.2))
    assert np.isfinite(found.errors).all()


def test_equal_images_have_equal_ids_and_others_do_not():
    array = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert content_id(to_tensor(array)) == content_id(to_tensor(Image.fromarray(array)))
    assert content_id(to_tensor(array)) != content_id(to_tensor(array[::-1].copy()))
    assert content_id(torch.zeros(1, 2, 8)) != content_id(torch.zeros(1, 4, 4))


def test_a_data_set_is_classified_without_its_labels():
    class Images:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Image.Image:
            return Image.new("L", (4, 4), 100 * index)

    data = ImageDataset(Images(), [0, 1, 1], name="grays", names=["a", "b", "c"], classes=["dark", "bright"])
    classifier = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(3))
    images = classifier.classify([data[i][0] for i in range(3)])
    np.testing.assert_array_equal(classifier.classify(data).errors, images.errors)
    np.testing.assert_array_equal(dict(classifier.stream(data))[0].errors, images.errors[:1])


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_image_ids_may_be_a_list_an_array_or_a_tensor(kind):
    result = DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(1)).classify(
        noisy_images(2), image_ids=kind([-(2**63), 2**63 - 1])
    )
    assert result.image_ids.tolist() == [-(2**63), 2**63 - 1]
