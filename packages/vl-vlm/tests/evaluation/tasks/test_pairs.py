"""Winoground's and SugarCrepe's formats: scores by hand, the constant model, what a model is asked."""

import numpy as np
import pytest
from vl_vlm import SugarCrepeTask, WinogroundTask, evaluate

CAPTIONS = [("a0", "b0"), ("a1", "b1"), ("a2", "b2"), ("a3", "b3")]


def test_winoground_by_hand(table):
    texts = [text for pair in CAPTIONS for text in pair]
    scores = np.full((8, 8), -9.0)
    # Rows are the two images, columns the two captions of an item.
    scores[0:2, 0:2] = [[3, 1], [0, 2]]  # all four comparisons hold
    scores[2:4, 2:4] = [[3, 1], [4, 5]]  # text: 3 > 1, 5 > 4; image: 3 < 4
    scores[4:6, 4:6] = [[3, 3], [1, 4]]  # text: a tie, 4 > 1; image: 3 > 1, 4 > 3; group: one right and one wrong at 3
    scores[6:8, 6:8] = [[1, 1], [1, 1]]
    task = WinogroundTask([(0, 1), (2, 3), (4, 5), (6, 7)], CAPTIONS)
    model = table(scores, texts)
    result = evaluate(model, task, batch_size=3)
    text, image, group = (result.row(f"{name} score") for name in ("text", "image", "group"))
    assert text.value == pytest.approx((1 + 1 + 1 / 2 + 1 / 4) / 4)
    assert image.value == pytest.approx((1 + 0 + 1 + 1 / 4) / 4)
    assert group.value == pytest.approx((1 + 0 + 1 / 2 + 1 / 6) / 4)
    assert (text.official, image.official, group.official) == (2 / 4, 2 / 4, 1 / 4)
    assert (text.tie_rate, image.tie_rate, group.tie_rate) == (2 / 4, 1 / 4, 2 / 4)
    assert set(model.blocks) == {(2, 2)}


def test_a_constant_model_has_a_quarter_a_quarter_and_a_sixth(table):
    texts = [text for pair in CAPTIONS for text in pair]
    task = WinogroundTask([(0, 1)] * 4, CAPTIONS)
    result = evaluate(table(np.ones((2, 8)), texts), task)
    for model in ("model", "constant"):
        rows = [result.row(f"{name} score", model) for name in ("text", "image", "group")]
        assert [row.value for row in rows] == pytest.approx([1 / 4, 1 / 4, 1 / 6])
        assert [row.official for row in rows] == [0, 0, 0]
        assert [row.tie_rate for row in rows] == [1, 1, 1]


def test_the_blind_model_ties_on_captions_of_the_same_words(table):
    pairs = [("some plants around a bulb", "a bulb around some plants"), ("a dog bites a man", "a man bites a dog")]
    task = WinogroundTask([(0, 1), (2, 3)], pairs)
    result = evaluate(table(np.eye(4), task.texts()), task)
    assert result.row("text score").value == 1
    assert [result.row(f"{n} score", "blind").value for n in ("text", "image", "group")] == pytest.approx(
        [1 / 4, 1 / 4, 1 / 6]
    )


def test_sugarcrepe_by_hand(table):
    task = SugarCrepeTask(range(4), list("abcd"), list("wxyz"))
    scores = np.zeros((4, 8))
    scores[0, 0], scores[1, 3], scores[2, 4:6] = 1, 1, 2  # right, wrong, tie; the fourth ties at zero
    result = evaluate(table(scores, task.texts()), task)
    row = result.row("accuracy")
    assert (row.value, row.official, row.tie_rate) == ((1 + 0 + 1 / 2 + 1 / 2) / 4, 1 / 4, 2 / 4)
    constant = result.row("accuracy", "constant")
    assert (constant.value, constant.official, constant.tie_rate) == (1 / 2, 0, 1)


def test_a_blind_model_wins_where_negatives_are_longer(table):
    task = SugarCrepeTask(range(2), ["a dog", "a cat"], ["a dog in a red hat", "a cat on a purple mat"])
    result = evaluate(table(np.zeros((2, 4)), task.texts()), task)
    assert result.row("accuracy", "blind").value == 1
    assert result.row("accuracy").value == 0.5


def test_pairs_are_scored_one_by_one_where_a_model_can():
    class Paired:
        def score(self, images, texts):
            raise AssertionError("pairs are asked for instead")

        def score_pairs(self, images, texts):
            return [10.0 * image + len(text) for image, text in zip(images, texts, strict=True)]

    task = WinogroundTask([(1, 2), (3, 4)], [("a", "bb"), ("ccc", "dddd")])
    np.testing.assert_array_equal(task.score_rows(Paired(), [0, 1], 1), [[11, 21, 12, 22], [33, 43, 34, 44]])
