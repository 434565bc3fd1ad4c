"""Retrieval: recalls by hand and by brute force, several captions an image, memory that stays bounded."""

from itertools import permutations

import numpy as np
import pytest
from vl_vlm import RetrievalTask, evaluate


def test_recalls_by_hand(table):
    captions = [["a", "b"], ["c"], ["d"]]
    scores = [
        [1, 5, 9, 0],  # c above b: found in two
        [2, 0, 7, 7],  # c ties with d
        [3, 3, 3, 3],  # all tie
    ]
    result = evaluate(table(scores, "abcd"), RetrievalTask(range(3), captions, ks=[1, 2]), batch_size=2)
    first, second = result.row("image-to-text recall@1"), result.row("image-to-text recall@2")
    assert first.value == pytest.approx((0 + 1 / 2 + 1 / 4) / 3)
    assert second.value == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert (first.official, second.official, first.tie_rate) == (0, pytest.approx(2 / 3), pytest.approx(2 / 3))
    # Columns: a is last, b first; c second of three; d second of three.
    back, wider = result.row("text-to-image recall@1"), result.row("text-to-image recall@2")
    assert (back.value, back.official, back.tie_rate, back.items) == (1 / 4, 1 / 4, 0, 4)
    assert wider.value == wider.official == 3 / 4


def by_force(scores, right, k):
    """Share of hits over all orders of each row's candidates in which ties may end."""
    hits = []
    for row, own in zip(scores, right, strict=True):
        orders = [sorted(range(len(row)), key=lambda p: (-row[p], o[p])) for o in permutations(range(len(row)))]
        hits.append(np.mean([own[order[:k]].any() for order in orders]))
    return np.mean(hits)


@pytest.mark.parametrize("seed", range(4))
def test_recalls_are_those_of_all_tie_breakings(table, seed):
    scores = np.random.default_rng(seed).integers(0, 3, (4, 6))
    captions = [["a", "b"], ["c", "d"], ["e"], ["f", "a"]]  # one caption of two images
    right = np.array([[letter in own for letter in "abcdef"] for own in captions])
    task = RetrievalTask(range(4), captions, ks=[1, 2, 3])
    result = evaluate(table(scores, "abcdef"), task, batch_size=3, text_batch_size=4)
    for k in (1, 2, 3):
        there, back = (result.row(f"{way} recall@{k}").value for way in ("image-to-text", "text-to-image"))
        assert there == pytest.approx(by_force(scores, right, k), abs=1e-12)
        assert back == pytest.approx(by_force(scores.T, right.T, k), abs=1e-12)


def test_equal_captions_are_right_for_each_image_that_has_them(table):
    task = RetrievalTask(range(3), [["same"], ["same"], ["other"]])
    assert (task.width, task.merged) == (2, 1)
    result = evaluate(table([[1, 0], [1, 0], [0, 1]], ["same", "other"]), task)
    assert result.row("image-to-text recall@1").value == result.row("text-to-image recall@1").value == 1
    assert "1 captions equal" in str(result)


def test_captions_of_one_image_are_resampled_together(table):
    task = RetrievalTask(range(3), [["a", "b"], ["b", "c"], ["d"]])
    result = evaluate(table(np.eye(3, 4), "abcd"), task, samples=10)
    groups = {m.name: list(m.groups) for m in result.measures["model"]}
    assert groups == {"image-to-text recall@1": [0, 1, 2], "text-to-image recall@1": [0, 0, 1, 2]}


def test_the_model_is_asked_for_small_blocks_alone(table):
    texts = [f"text {number}" for number in range(90)]
    model = table(np.random.default_rng(0).random((30, 90)), texts)
    task = RetrievalTask(range(30), [texts[3 * i : 3 * i + 3] for i in range(30)])
    evaluate(model, task, batch_size=4, text_batch_size=16, samples=10)
    assert max(images * texts for images, texts in model.blocks) == 4 * 16
    assert sum(images * texts for images, texts in model.blocks) == 30 * 90  # nothing twice


def test_metrics_hold_one_block_at_a_time():
    texts = [f"text {number}" for number in range(20)]
    task = RetrievalTask(range(20), [[text] for text in texts])
    whole = np.random.default_rng(1).integers(0, 9, (20, 20)).astype(np.float64)

    def passes(size):
        return lambda: ((np.arange(i, min(i + size, 20)), whole[i : i + size]) for i in range(0, 20, size))

    for one, all_at_once in zip(task.measures(passes(1)), task.measures(passes(20)), strict=True):
        np.testing.assert_array_equal(one.expected, all_at_once.expected)
        np.testing.assert_array_equal(one.official, all_at_once.official)
