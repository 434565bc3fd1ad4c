"""Votes and z-scores of draws against plain loops over the table of errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from vl_diffusion import DiffusionClassifier, Exhaustive, LabelTree, NoiseSchedule, Shortlist, Staged, draw_errors
from vl_diffusion.scoring.aggregation import draw_scores

NAMES = ("a", "b", "c", "d", "e")


class Patterns:
    """Each class is a fixed pattern that is mixed into what is predicted, the more the noisier the image."""

    image_size, image_channels = 4, 1
    class_names: tuple[str, ...] | None = NAMES
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.schedule = NoiseSchedule.from_config({"beta_schedule": "linear"})

    def encode_images(self, images: Tensor) -> Tensor:
        return images * 2 - 1

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        seeds = [NAMES.index(name) for name in classes]
        return torch.stack([torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(s)) for s in seeds])

    def predict(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        _, sigma = self.schedule.levels(time.numpy())
        return x_t + 0.3 * condition * (1 + 5 * sigma.view(-1, 1, 1, 1) ** 4) * x_t.roll(1, -1)


def make_images(count: int) -> list[Tensor]:
    return list(torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1)))


def scores_of(errors: np.ndarray, aggregation: str) -> np.ndarray:
    """Scores ``(K, M)`` of errors ``(K, M)``, a draw after the other."""
    scores = np.zeros_like(errors)
    for j in range(errors.shape[1]):
        draw = errors[:, j]
        if aggregation == "vote":
            scores[min(range(len(draw)), key=lambda k: draw[k]), j] = -1
        elif aggregation == "zscore":
            mean = sum(draw) / len(draw)
            deviation = (sum((e - mean) ** 2 for e in draw) / len(draw)) ** 0.5
            scores[:, j] = [(e - mean) / deviation for e in draw]
        else:
            scores[:, j] = draw
    return scores


def test_the_aggregations_of_these_images_differ():
    """Otherwise the tests below would prove little."""
    errors = draw_errors(DiffusionClassifier(Patterns(), search=Exhaustive(12)), make_images(40)).errors
    verdicts = [
        [scores_of(of_image, name).mean(1).argmin() for of_image in errors] for name in ("mean", "vote", "zscore")
    ]
    assert all(np.mean(np.array(a) != b) > 0 for a, b in zip(verdicts, verdicts[1:] + verdicts[:1], strict=True))


@pytest.mark.parametrize("weighting", ["uniform", "exponential"])
@pytest.mark.parametrize("aggregation", ["mean", "vote", "zscore"])
def test_all_draws_are_aggregated(aggregation, weighting):
    classifier = DiffusionClassifier(
        Patterns(), search=Exhaustive(12), aggregation=aggregation, weighting=weighting, temperature=50.0
    )
    images = make_images(8)
    found, table = classifier.classify(images), draw_errors(classifier, images)
    weights = np.ones(12) if weighting == "uniform" else np.exp(-7 * table.times)
    weights = weights / weights.mean()
    for i in range(8):
        scores = scores_of(table.errors[i], aggregation) * weights
        winner = scores.mean(1).argmin()
        assert found.predictions[i] == winner
        paired = scores - scores[winner]
        np.testing.assert_allclose(found.differences[i], paired.mean(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            found.difference_standard_errors[i], paired.std(1, ddof=1) / 12**0.5, rtol=1e-4, atol=1e-5
        )
        # Errors stay what they are, whatever is compared.
        np.testing.assert_allclose(found.errors[i], (table.errors[i] * weights).mean(1), rtol=1e-5)
        relative = np.exp(-16 / 50 * (paired.mean(1) - paired.mean(1).min()))
        np.testing.assert_allclose(found.probabilities[i], relative / relative.sum(), rtol=1e-3)


@pytest.mark.parametrize("aggregation", ["vote", "zscore"])
def test_a_staged_search_compares_the_classes_that_are_left(aggregation):
    search = Staged((4, 12), (3, 1))
    classifier = DiffusionClassifier(Patterns(), search=search, aggregation=aggregation)
    images = make_images(20)
    found, errors = classifier.classify(images), draw_errors(classifier, images).errors
    first, second = search.stages()
    for i in range(20):
        scores = np.full((5, 12), np.nan)
        scores[:, first] = scores_of(errors[i][:, first], aggregation)
        kept = np.sort(np.argsort(scores[:, first].sum(1), kind="stable")[:3])
        # The rivals of a later draw are those that are still there.
        scores[np.ix_(kept, second)] = scores_of(errors[i][np.ix_(kept, second)], aggregation)
        winner = kept[scores[kept].mean(1).argmin()]
        assert found.predictions[i] == winner
        assert found.evaluations[i].tolist() == [12 if k in kept else 4 for k in range(5)]
        np.testing.assert_allclose(
            found.differences[i], np.nanmean(scores - scores[winner], axis=1), rtol=1e-4, atol=1e-5
        )


def test_a_tied_vote_goes_to_the_first_class():
    np.testing.assert_array_equal(draw_scores(np.ones((3, 2), np.float32), "vote"), [[-1, -1], [0, 0], [0, 0]])


def test_equal_errors_have_no_z_score():
    np.testing.assert_array_equal(draw_scores(np.ones((3, 2), np.float32), "zscore"), np.zeros((3, 2)))


def test_votes_and_z_scores_do_not_depend_on_the_scale_of_errors():
    rng = np.random.default_rng(0)
    errors = rng.random((4, 9)).astype(np.float32)
    scale = rng.random(9).astype(np.float32) * 100 + 1
    for aggregation in ("vote", "zscore"):
        np.testing.assert_allclose(
            draw_scores(errors * scale, aggregation), draw_scores(errors, aggregation), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("aggregation", ["vote", "zscore"])
def test_a_label_tree_supports_means_only(aggregation):
    tree = LabelTree({"first": NAMES[:3], "second": NAMES[3:]}, NAMES, Exhaustive(12))
    for search in (tree, Shortlist(tree, top=5)):
        with pytest.raises(ValueError, match=f"aggregation must be 'mean' for a LabelTree, .*got '{aggregation}'"):
            DiffusionClassifier(Patterns(), search=search, aggregation=aggregation)
    DiffusionClassifier(Patterns(), search=Shortlist(Exhaustive(12)), aggregation=aggregation)


def test_an_unknown_aggregation_is_refused():
    with pytest.raises(ValueError, match="aggregation must be one of mean, vote, zscore, got 'median'"):
        DiffusionClassifier(Patterns(), aggregation="median")
