"""Anything that scores images against texts is a model, in every form of array."""

import numpy as np
import pytest
import torch
from vl_vlm import Scorer
from vl_vlm.evaluation.scorers.scorer import as_array, as_scorer, score_block


def ones(images, texts):
    return np.ones((len(images), len(texts)))


def test_a_function_and_an_object_are_scorers(table):
    model = table([[1]], ["a"])
    assert as_scorer(model) is model
    assert isinstance(model, Scorer)
    np.testing.assert_array_equal(as_scorer(ones).score([0, 1], ["a"]), [[1], [1]])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (torch.tensor([0.1], dtype=torch.bfloat16, requires_grad=True), np.float32),
        (torch.tensor([0.1], dtype=torch.float64), np.float64),
        (np.array([0.1], np.float16), np.float32),
        (np.array([2**40]), np.float64),
        ([0.1], np.float64),
    ],
)
def test_numbers_are_kept_exactly(values, dtype):
    array = as_array(values, "scores")
    assert array.dtype == dtype
    assert array[0] == (values[0].item() if hasattr(values[0], "item") else values[0])


def test_texts_are_asked_in_portions(table):
    scores = np.arange(10.0).reshape(2, 5)
    model = table(scores, "abcde")
    np.testing.assert_array_equal(score_block(model, [0, 1], list("abcde"), 2), scores)
    assert model.blocks == [(2, 2), (2, 2), (2, 1)]
