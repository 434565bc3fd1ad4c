"""Templates by name, and several prompts of a class against plain loops over the errors of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from vl_core.noise import gaussian, make_keys
from vl_diffusion import (
    PROMPT_TEMPLATES,
    DiffusionClassifier,
    Exhaustive,
    Halving,
    LabelTree,
    NoiseSchedule,
    Racing,
    Search,
    SearchInput,
    Shortlist,
    Staged,
    prompt_templates,
)
from vl_diffusion.models.images import content_id
from vl_diffusion.search.common_grid import OnGrid

CLASSES = ("cat", "dog", "bird")
PROMPTS = {"cat": ["a cat", "a kitten", "a tabby"], "dog": "a dog", "bird": ["a bird", "a wren"]}
FLAT = ("a cat", "a kitten", "a tabby", "a dog", "a bird", "a wren")
OWNERS = np.array([0, 0, 0, 1, 2, 2])


class Speaks:
    """Takes any prompt; what it predicts is a fixed mixture of what it is shown and of the prompt's own pattern."""

    image_size, image_channels = 4, 1
    class_names: tuple[str, ...] | None = None
    device = torch.device("cpu")
    takes_prompts = True

    def __init__(self) -> None:
        self.schedule = NoiseSchedule.from_config({"beta_schedule": "linear"})
        self.encoded: list[str] = []

    def encode_images(self, images: Tensor) -> Tensor:
        return images * 2 - 1

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        self.encoded.extend(classes)
        seeds = [sum(map(ord, text)) for text in classes]
        return torch.stack([torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(s)) for s in seeds])

    def predict(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        return 0.9 * x_t + 0.2 * condition * (1 + x_t)


def make_images(count: int) -> list[Tensor]:
    return list(torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1)))


def table(images: Sequence[Tensor], texts: Sequence[str], draws: int) -> np.ndarray:
    """Errors ``(B, R, M)`` by a plain loop."""
    denoiser = Speaks()
    condition = denoiser.encode_classes(texts)
    errors = np.empty((len(images), len(texts), draws))
    for i, image in enumerate(images):
        for j, step in enumerate(denoiser.schedule.steps(draws)):
            noise = gaussian(make_keys(0, torch.tensor([content_id(image)]), torch.tensor([j])), (1, 4, 4))
            alpha, sigma = denoiser.schedule.levels(np.array([step]))
            x_t = alpha * (image[None] * 2 - 1) + sigma * noise
            for r in range(len(texts)):
                output = denoiser.predict(x_t, torch.tensor([step]), condition[[r]])
                errors[i, r, j] = (output - noise).square().mean()
    return errors


def classifier(search, combination: str, **settings) -> DiffusionClassifier:
    return DiffusionClassifier(
        Speaks(), CLASSES, search=search, prompts=PROMPTS, prompt_combination=combination, batch_size=7, **settings
    )


def test_the_mean_of_prompts_is_taken_draw_by_draw():
    images, errors = make_images(5), table(make_images(5), FLAT, 8)
    result = classifier(Exhaustive(8), "mean").classify(images)
    of_class = np.stack([errors[:, k == OWNERS].mean(1) for k in range(3)], 1)
    np.testing.assert_allclose(result.errors, of_class.mean(2), rtol=1e-5)
    np.testing.assert_array_equal(result.predictions, of_class.mean(2).argmin(1))
    np.testing.assert_array_equal(result.draws, 8)
    np.testing.assert_array_equal(result.evaluations, [[24, 8, 16]] * 5)
    paired = of_class - of_class[np.arange(5), result.predictions][:, None]
    np.testing.assert_allclose(result.differences, paired.mean(2), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result.difference_standard_errors, paired.std(2, ddof=1) / 8**0.5, rtol=1e-4, atol=1e-6)


def test_a_class_is_as_good_as_its_best_prompt():
    images, errors = make_images(5), table(make_images(5), FLAT, 8)
    result = classifier(Exhaustive(8), "best").classify(images)
    means = errors.mean(2)
    of_class = np.stack([means[:, k == OWNERS].min(1) for k in range(3)], 1)
    np.testing.assert_allclose(result.errors, of_class, rtol=1e-5)
    np.testing.assert_array_equal(result.predictions, OWNERS[means.argmin(1)])
    np.testing.assert_allclose(result.differences, of_class - of_class.min(1, keepdims=True), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(result.draws, 8)
    np.testing.assert_array_equal(result.evaluations, [[24, 8, 16]] * 5)


def test_a_class_is_a_mixture_of_its_prompts():
    images, errors = make_images(5), table(make_images(5), FLAT, 8)
    scale = 16 / 2.0
    result = classifier(Exhaustive(8), "logsumexp", temperature=2.0).classify(images)
    # p(x | class) is the mean over its prompts of exp(-scale * error); the posterior follows with equal priors.
    likelihood = np.stack([np.exp(-scale * errors.mean(2)[:, k == OWNERS]).mean(1) for k in range(3)], 1)
    posterior = likelihood / likelihood.sum(1, keepdims=True)
    np.testing.assert_allclose(result.probabilities, posterior, rtol=1e-4)
    np.testing.assert_array_equal(result.predictions, posterior.argmax(1))
    np.testing.assert_allclose(
        result.differences, -np.log(posterior / posterior.max(1, keepdims=True)) / scale, rtol=1e-3, atol=1e-6
    )
    for k in range(3):
        share = np.exp(-scale * errors.mean(2)[:, k == OWNERS])
        share /= share.sum(1, keepdims=True)
        np.testing.assert_allclose(result.errors[:, k], (share * errors.mean(2)[:, k == OWNERS]).sum(1), rtol=1e-5)


def test_many_good_prompts_may_be_ahead_of_one_best():
    class Scripted(Speaks):
        """The error of a prompt is the number that it says."""

        def encode_classes(self, classes: Sequence[str]) -> Tensor:
            return torch.tensor([float(text) for text in classes])

        def encode_images(self, images: Tensor) -> Tensor:
            return torch.zeros_like(images)

        def predict(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
            _, sigma = self.schedule.levels(time.numpy())
            return x_t / sigma.view(-1, 1, 1, 1) + condition.sqrt().view(-1, 1, 1, 1)

    prompts = {"few": ["0.10", "9"], "many": ["0.11", "0.11"]}
    settings = {"search": Exhaustive(3), "prompts": prompts, "temperature": 1.0}
    best = DiffusionClassifier(Scripted(), ["few", "many"], prompt_combination="best", **settings)
    mixture = DiffusionClassifier(Scripted(), ["few", "many"], prompt_combination="logsumexp", **settings)
    assert best.classify(make_images(1)).predicted_classes == ("few",)
    found = mixture.classify(make_images(1))
    assert found.predicted_classes == ("many",)
    expected = np.array([np.exp(-16 * 0.10) / 2, np.exp(-16 * 0.11)])
    np.testing.assert_allclose(found.probabilities[0], expected / expected.sum(), rtol=1e-3)
    assert found.difference_standard_errors[0, 1] == 0


@pytest.mark.parametrize("combination", ["mean", "best"])
def test_a_staged_search_keeps_prompts_or_classes(combination):
    images, errors = make_images(6), table(make_images(6), FLAT, 8)
    search = Staged((2, 8), (2, 1))
    result = classifier(search, combination).classify(images)
    first, second = search.stages()
    class_indices = OWNERS if combination == "best" else np.arange(3)
    groups = np.arange(6)[:, None] if combination == "best" else [np.flatnonzero(k == OWNERS) for k in range(3)]
    for i in range(6):
        candidates = np.stack([errors[i, rows].mean(0) for rows in groups])
        kept = np.argsort(candidates[:, first].mean(1), kind="stable")[:2]
        winner = kept[candidates[kept].mean(1).argmin()]
        assert result.predictions[i] == class_indices[winner]
        seen = np.full(len(groups), len(first))
        seen[kept] += len(second)
        cost = [sum(seen[a] * len(groups[a]) for a in np.flatnonzero(class_indices == k)) for k in range(3)]
        assert result.evaluations[i].tolist() == cost
        assert result.total_evaluations[i] == sum(cost)
        assert result.errors[i, class_indices[winner]] == pytest.approx(candidates[winner].mean(), rel=1e-5)
        common = [first if seen[a] == 2 else np.arange(8) for a in range(len(groups))]
        difference = np.array([(candidates[a] - candidates[winner])[common[a]].mean() for a in range(len(groups))])
        of_class = [difference[class_indices == k].min() for k in range(3)]
        np.testing.assert_allclose(result.differences[i], of_class, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("combination", ["mean", "best", "logsumexp"])
def test_combinations_agree_for_one_prompt_per_class(combination):
    settings = {"search": Staged((2, 6), (2, 1)), "prompt_template": "a photo of a {}."}
    plain = DiffusionClassifier(Speaks(), CLASSES, **settings).classify(make_images(3))
    combined = DiffusionClassifier(Speaks(), CLASSES, prompt_combination=combination, **settings).classify(
        make_images(3)
    )
    np.testing.assert_array_equal(combined.errors, plain.errors)
    np.testing.assert_array_equal(combined.probabilities, plain.probabilities)


def test_prompts_pruned_after_one_draw_leave_a_mixture_its_standard_error():
    result = classifier(Staged((1, 6), (2, 1)), "logsumexp").classify(make_images(8))
    errors, draws = result.standard_errors, result.draws
    assert (draws == 1).any()
    np.testing.assert_array_equal(np.isnan(errors), draws < 2)


def test_prompts_take_the_place_of_templates():
    denoiser = Speaks()
    DiffusionClassifier(
        denoiser, CLASSES, prompts={"cat": "my cat"}, prompt_template=["a {}.", "the {}, a {}."], search=Exhaustive(1)
    )
    assert denoiser.encoded == ["my cat", "a dog.", "the dog, a dog.", "a bird.", "the bird, a bird."]


@pytest.mark.parametrize("combination", ["mean", "best"])
def test_logits_of_classes_reach_every_prompt(combination):
    class Listens:
        """Follows the logits alone, and remembers them."""

        num_draws = 2

        def budget(self, num_classes: int) -> int:
            return 2

        def requests(self, problem: SearchInput):
            assert problem.logits is not None
            assert len(problem.logits) == problem.num_classes
            self.heard = problem.logits
            best = int(problem.logits.argmax())
            yield np.array([best]), np.arange(2)
            return best

    search = Listens()
    result = classifier(search, combination).classify(make_images(1), logits=[[0.1, 0.2, 0.7]])
    assert result.predicted_classes == ("bird",)
    assert search.heard.tolist() == ([0.1, 0.2, 0.7] if combination == "mean" else [0.1, 0.1, 0.1, 0.2, 0.7, 0.7])


TREE = {"furry": ["cat", "dog"], "feathered": ["bird"]}
FOUR = ["a {}", "the {}", "my {}", "no {}"]
LIMITED: dict[str, Search] = {
    "exhaustive": Exhaustive(50, max_evaluations=38),
    "staged": Staged((4, 16), (2, 1), max_evaluations=38),
    "halving": Halving(50, max_evaluations=38),
    "racing": Racing(50, level=1e-9, max_evaluations=38),
    "tree": LabelTree(TREE, CLASSES, Racing(50), keep=1, max_evaluations=38),
    "tree of names": LabelTree(TREE, CLASSES, Racing(50), keep=1, probe="names", max_evaluations=38),
    "shortlist": Shortlist(Racing(50), top=2, max_evaluations=38),
    "limited within": Shortlist(Racing(50, max_evaluations=38), top=2),
    "on a grid": OnGrid(Racing(50, max_evaluations=38), 60),
}


@pytest.mark.parametrize("name", LIMITED)
def test_a_budget_counts_evaluations_of_all_prompts(name):
    logits = [[0.1, 0.2, 0.7]] * 4
    even = DiffusionClassifier(Speaks(), CLASSES, search=LIMITED[name], prompt_template=FOUR)
    spent = even.classify(make_images(4), logits=logits).total_evaluations
    assert (spent <= 38).all()
    # Where all classes cost the same, no draw of all of them is left over.
    assert name not in ("exhaustive", "racing") or (spent == 36).all()
    uneven = classifier(LIMITED[name], "mean").classify(make_images(4), logits=logits).total_evaluations
    assert (uneven <= 38).all()
    *_, last = even.watch(make_images(1)[0], logits=logits[0])
    assert last.total_evaluations.tolist() == spent[:1].tolist()


@pytest.mark.parametrize("search", [Racing(50, max_evaluations=11), Shortlist(Exhaustive(9, max_evaluations=3), 3)])
def test_a_budget_below_one_draw_of_every_prompt_is_refused_before_anything_is_encoded(search):
    denoiser = Speaks()
    with pytest.raises(ValueError, match=r"in draws of 4 evaluations each, one per prompt, max_evaluations must"):
        DiffusionClassifier(denoiser, CLASSES, search=search, prompt_template=FOUR)
    with pytest.raises(ValueError, match="max_evaluations must be at least 3, one draw of each class, got 2"):
        DiffusionClassifier(denoiser, CLASSES, search=Racing(50, max_evaluations=2))
    assert not denoiser.encoded


def test_a_budget_that_cannot_be_divided_is_refused():
    class Own:
        num_draws, max_evaluations = 4, 30
        budget = staticmethod(lambda num_classes: 30)
        requests = Exhaustive(4).requests

    with pytest.raises(TypeError, match=r"search must be a dataclass for its budget to be divided, got .*Own"):
        DiffusionClassifier(Speaks(), CLASSES, search=Own(), prompt_template=FOUR)
    DiffusionClassifier(Speaks(), CLASSES, search=Own())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": {"cow": "a cow"}}, "prompts must have classes as keys, got 'cow'"),
        ({"prompts": {"cat": [1]}}, "prompts of class 'cat' must be strings, got 1"),
        ({"prompts": {"cat": []}}, "prompts of class 'cat' must have at least one entry, got none"),
        ({"prompt_template": []}, "prompt_template must have at least one template, got none"),
        ({"prompt_template": ["a {}", "a cat"]}, "prompt_template must contain {} for the class name, got 'a cat'"),
        ({"prompt_combination": "worst"}, "prompt_combination must be one of mean, logsumexp, best, got 'worst'"),
    ],
)
def test_invalid_prompts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DiffusionClassifier(Speaks(), CLASSES, **arguments)


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("pets", "a photo of a Abyssinian cat, a type of pet."),
        ("flowers", "a photo of a Abyssinian cat, a type of flower."),
        ("food", "a photo of Abyssinian cat, a type of food."),
        ("aircraft", "a photo of a Abyssinian cat, a type of aircraft."),
        ("stl10", "a photo of a Abyssinian cat."),
        ("imagenet", "a photo of a Abyssinian cat."),
        ("objectnet", "a photo of a Abyssinian cat."),
        ("cifar10", "a blurry photo of a Abyssinian cat."),
        ("cifar100", "a blurry photo of a Abyssinian cat."),
        ("mnist", "a photo of the number: 'Abyssinian cat'."),
    ],
)
def test_templates_are_those_of_the_papers_data_sets(name, prompt):
    denoiser = Speaks()
    DiffusionClassifier(denoiser, ["Abyssinian cat", "pug dog"], prompt_template=prompt_templates(name))
    assert denoiser.encoded[0] == prompt


def test_every_template_has_a_place_for_the_class():
    for name in PROMPT_TEMPLATES:
        assert all("{}" in template for template in prompt_templates(name))
        assert len(set(prompt_templates(name))) == len(prompt_templates(name))


def test_a_name_without_templates_is_refused():
    with pytest.raises(ValueError, match=r"one of aircraft, cifar10, .*got 'imagnet'; did you mean 'imagenet'\?"):
        prompt_templates("imagnet")
    with pytest.raises(ValueError, match="got 'zzz'; pass your own template"):
        prompt_templates("zzz")
