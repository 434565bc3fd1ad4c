"""Zero-shot classification: accuracies by hand, ensembles of prompts."""

import numpy as np
import pytest
from vl_vlm import ClassificationTask, evaluate

NAMES = ["cat", "dog", "ibex"]


def test_accuracies_by_hand(table):
    scores = [[3, 1, 2], [3, 1, 2], [2, 2, 1], [0, 0, 0]]
    task = ClassificationTask(range(4), [0, 1, 1, 2], NAMES, templates=["{}"], ks=[1, 2])
    result = evaluate(table(scores, NAMES), task, batch_size=3)
    top1, top2 = result.row("top-1 accuracy"), result.row("top-2 accuracy")
    # Right, last of three, one of two tied, one of three tied.
    assert top1.value == pytest.approx((1 + 0 + 1 / 2 + 1 / 3) / 4)
    assert top2.value == pytest.approx((1 + 0 + 1 + 2 / 3) / 4)
    assert (top1.official, top2.official) == (1 / 4, 2 / 4)
    assert top1.tie_rate == top2.tie_rate == 2 / 4
    constant = result.row("top-1 accuracy", "constant")
    assert (constant.value, constant.official, constant.tie_rate) == (pytest.approx(1 / 3), 0, 1)


def test_prompts_are_averaged_as_scores_without_features(table):
    task = ClassificationTask(range(2), [0, 1], ["cat", "dog"], templates=["{}", "a {}"])
    assert task.texts() == ["cat", "a cat", "dog", "a dog"]
    model = table([[4, 0, 1, 1], [0, 1, 3, 0]], task.texts())
    np.testing.assert_array_equal(task.score_rows(model, [0, 1], 3), [[2, 1], [0.5, 1.5]])
    assert model.blocks == [(2, 3), (2, 1)]


def test_prompts_are_averaged_as_unit_features_where_a_model_can():
    class Grouped:
        def score(self, images, texts):
            raise AssertionError("the ensemble is asked for instead")

        def score_groups(self, images, groups):
            return [[float(len(group)) for group in groups] for _ in images]

    task = ClassificationTask(range(2), [0, 1], ["cat", "dog"], templates=["{}", "a {}"])
    np.testing.assert_array_equal(task.score_rows(Grouped(), [0, 1], 1), [[2, 2], [2, 2]])


def test_usual_ks_leave_a_class_out():
    assert ClassificationTask(range(2), [0, 1], NAMES).ks == (1,)
    assert ClassificationTask(range(2), [0, 1], list("abcdef")).ks == (1, 5)
