"""Input that no concept model takes; a refusal changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from explorer_dense import unit_rows
from vl_explorer.models.gaussian_process import GaussianProcess
from vl_explorer.models.hyperparameters import compare_hyperparameters, fit_hyperparameters
from vl_explorer.models.linear import LinearModel
from vl_explorer.models.model import ConceptModel
from vl_explorer.models.nearest import NearestModel

EMBEDDINGS = unit_rows(10, 3)
NAN = float("nan")


def models() -> list[ConceptModel]:
    return [GaussianProcess(EMBEDDINGS), LinearModel(EMBEDDINGS), NearestModel(EMBEDDINGS, EMBEDDINGS[0])]


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
@pytest.mark.parametrize(
    ("indices", "rewards", "kind", "words"),
    [
        ([1, 10], [0.0, 1.0], ValueError, r"indices must be in 0\.\.9, got 1\.\.10"),
        ([-1], [0.0], ValueError, "indices must be in"),
        ([0.5], [0.0], TypeError, "whole numbers, got float64"),
        ([[1]], [0.0], ValueError, r"shape \(b,\), got \(1, 1\)"),
        ([1, 2], [0.0], ValueError, r"rewards must have shape \(2,\)"),
        ([1, 2], [0.0, NAN], ValueError, "finite, got nan at 1; leave out"),
    ],
)
def test_observations_that_are_none_change_nothing(model, indices, rewards, kind, words):
    model.observe([3], [0.5])
    before = model.predict()
    with pytest.raises(kind, match=words):
        model.observe(indices, rewards)
    with pytest.raises(ValueError, match="rewards must"):
        model.replace([NAN] * len(model.state_dict()["rewards"]))
    with pytest.raises(ValueError, match="rewards must have shape"):
        model.replace([])
    np.testing.assert_array_equal(model.predict(), before)


@pytest.mark.parametrize(
    ("embeddings", "kind", "words"),
    [
        (np.ones((3, 2), int), TypeError, "floating-point numbers, got int64"),
        (np.ones(3), ValueError, r"shape \(N, d\) .* got \(3,\)"),
        (np.ones((0, 3)), ValueError, "at least 1"),
        (np.array([[1.0], [NAN], [NAN]]), ValueError, "in 2 rows, the first in row 1"),
    ],
)
def test_embeddings_that_are_none_are_refused(embeddings, kind, words):
    for make in (GaussianProcess, LinearModel, lambda rows: NearestModel(rows, np.ones(2))):
        with pytest.raises(kind, match=words):
            make(embeddings)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GaussianProcess(EMBEDDINGS, length_scale=0), "length_scale must be a number above 0"),
        (lambda: GaussianProcess(EMBEDDINGS, signal_variance=NAN), "signal_variance must be"),
        (lambda: GaussianProcess(EMBEDDINGS, noise=1e-9), "noise must be at least 1e-8"),
        (lambda: LinearModel(EMBEDDINGS, noise=-1), "noise must be"),
        (lambda: NearestModel(EMBEDDINGS, np.ones(4)), "target must have shape .* d = 3"),
        (lambda: NearestModel(EMBEDDINGS, np.zeros(3)), "target must be finite and not zero"),
        (lambda: fit_hyperparameters(EMBEDDINGS, [1], [0.0]), "at least 2 to learn from, got 1"),
        (lambda: compare_hyperparameters(EMBEDDINGS, [1, 2], [0.0, 1.0], share=1.5), "share must lie"),
        (lambda: compare_hyperparameters(EMBEDDINGS, [1], [0.0]), "must hold out a concept"),
    ],
)
def test_options_out_of_range_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_states_of_other_models_do_not_load():
    model = GaussianProcess(EMBEDDINGS)
    model.observe([3], [0.5])
    before = model.predict()
    wide = GaussianProcess(unit_rows(11, 3)).state_dict()
    for state, words in (
        (LinearModel(EMBEDDINGS).state_dict(), "Gaussian process"),
        (wide, "10 concepts like this process, got 11"),
        ({**model.state_dict(), "steps": np.array([5])}, "steps"),
    ):
        with pytest.raises(ValueError, match=words):
            model.load_state_dict(state)
    with pytest.raises(ValueError, match="'rewards'"):
        LinearModel(EMBEDDINGS).load_state_dict({"indices": np.array([1])})
    np.testing.assert_array_equal(model.predict(), before)
