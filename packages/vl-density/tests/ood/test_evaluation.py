"""Comparisons of scores: what is computed once, which is called best, and when none is."""

from __future__ import annotations

import numpy as np
import pytest
from vl_core.intervals import Interval
from vl_density.ood.evaluation import OODResult, clearly_best, evaluate_scores
from vl_density.ood.likelihoods import RememberedDensity
from vl_density.ood.metrics import METRICS, auroc
from vl_density.ood.scores import WAIC, NegativeLogLikelihood, Typicality

from .test_scores import images, model


class Counting(RememberedDensity):
    """Counts the sets whose likelihoods were computed."""

    sets = 0

    def log_probs(self, images):
        self.sets += id(images) not in self._found
        return super().log_probs(images)


def test_likelihoods_are_computed_once_for_all_scores():
    one, other = Counting(model(0)), Counting(model(1))
    scores = {"likelihood": NegativeLogLikelihood(one), "typicality": Typicality(one), "WAIC": WAIC([one, other])}
    inside, near, far = images(12), images(11, 1), images(10, 2) * 0
    results, found = evaluate_scores(scores, inside, {"near": near, "far": far}, fitted_on=images(9, 3), repetitions=20)
    assert (one.sets, other.sets) == (4, 3)
    assert [(row.outside, row.score) for row in results] == [(s, n) for s in ("near", "far") for n in scores]
    for row in results:
        own = found[row.score]
        assert row.metrics["AUROC"].estimate == auroc(own["inside"], own[row.outside])
        assert row.metrics.keys() == METRICS.keys()
    np.testing.assert_allclose(found["likelihood"]["far"], NegativeLogLikelihood(model(0)).score(far), rtol=1e-5)


def result(name, estimate, half=0.05):
    return OODResult(name, "set", {"AUROC": Interval(estimate, estimate - half, estimate + half)})


@pytest.mark.parametrize(
    ("areas", "best"),
    [
        ({"a": 0.9, "b": 0.7}, "a"),
        ({"a": 0.9, "b": 0.85}, None),  # intervals overlap
        ({"a": 0.54, "b": 0.3}, None),  # not above 0.5
        ({"a": 0.6}, "a"),
    ],
)
def test_a_score_is_called_best_only_if_it_is(areas, best):
    assert clearly_best([result(name, area) for name, area in areas.items()], "set") == best


@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        (images(5), {"one": images(1)}, "one must hold at least two images, got 1; an interval needs them"),
        (images(1), {"some": images(5)}, "inside must hold at least two images, got 1"),
        (images(5), {"inside": images(5)}, "outside must not have a set of the name 'inside'"),
    ],
)
def test_wrong_sets_are_named(inside, outside, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        evaluate_scores({"likelihood": NegativeLogLikelihood(model())}, inside, outside)
