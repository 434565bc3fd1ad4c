"""The dense losses against loops over pairs, written down from the papers."""

from __future__ import annotations

import math

import pytest
import torch
from loss_problems import make_problem
from torch.nn import functional as F
from vl_vlm import dense_info_nce, dense_sigmoid_loss


def belongs(problem, i: int, j: int) -> bool:
    if problem.positives is None:
        return i == j
    image_ids, text_ids = problem.positives
    return j < len(text_ids) and text_ids[j].item() in image_ids.reshape(len(image_ids), -1)[i].tolist()


def logits_of(problem) -> list[list[float]]:
    columns = problem.texts if problem.negatives is None else torch.cat([problem.texts, problem.negatives])
    return (problem.scale * problem.images @ columns.T).tolist()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"negatives": 3},
        {"texts": 14, "groups": 6},
        {"groups": 30, "negatives": 2},
        {"texts": 14, "groups": 12, "ids": 4, "negatives": 1},
    ],
)
def test_losses_equal_loops_over_pairs(options):
    problem = make_problem(images=9, **({"texts": 9} | options))
    logits = logits_of(problem)
    pairs = [[belongs(problem, i, j) for j in range(len(logits[0]))] for i in range(9)]

    def one_direction(values, positive):
        losses = []
        for row, mine in zip(values, positive, strict=True):
            total = math.log(sum(math.exp(value) for value in row))
            terms = [total - value for value, found in zip(row, mine, strict=True) if found]
            losses += [sum(terms) / len(terms)] if terms else []
        return sum(losses) / len(losses)

    by_image = one_direction(logits, pairs)
    by_text = one_direction(*([list(column) for column in zip(*rows, strict=True)] for rows in (logits, pairs)))
    features = problem.images, problem.texts, problem.scale
    for direction, expected in (
        ("image_to_text", by_image),
        ("text_to_image", by_text),
        ("both", (by_image + by_text) / 2),
    ):
        found = dense_info_nce(*features, direction=direction, **problem.options)
        assert found.item() == pytest.approx(expected, abs=1e-12)
    total = 0.0
    for i, row in enumerate(logits):
        for j, value in enumerate(row):
            total += math.log1p(math.exp(-(value - 3.0) * (1 if pairs[i][j] else -1)))
    assert dense_sigmoid_loss(*features, -3.0, **problem.options).item() == pytest.approx(total / 9, abs=1e-12)


def test_pairs_alone_give_the_cross_entropy_of_both_directions():
    problem = make_problem()
    logits, truth = problem.scale * problem.images @ problem.texts.T, torch.arange(11)
    expected = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
    torch.testing.assert_close(dense_info_nce(problem.images, problem.texts, problem.scale), expected)


def test_features_that_say_nothing_give_the_loss_of_chance():
    same = torch.ones(8, 4, dtype=torch.float64)
    assert dense_info_nce(same, same, 3.0).item() == pytest.approx(math.log(8))
    assert dense_sigmoid_loss(same, same, 1.0, -4.0).item() == pytest.approx(8 * math.log(2))


def test_a_caption_of_another_image_may_be_true_of_this_one():
    # The first image has captions 0 and 1, the second caption 1 alone; texts 0 and 1 are in the batch.
    x = torch.eye(2, dtype=torch.float64)
    ids = torch.tensor([[0, 1], [1, -1]]), torch.tensor([0, 1])
    expected = -(
        F.logsigmoid(torch.tensor([1.0, 0.0])).sum() + F.logsigmoid(torch.tensor([-0.0, 1.0])).sum()
    )  # the second image and the first text are the only negatives
    assert dense_sigmoid_loss(x, x, 1.0, positives=ids).item() == pytest.approx(expected.item() / 2)


def test_equal_captions_are_never_negatives():
    # Two images share a caption: with ids, each direction can reach the entropy of its positives and no more.
    images = torch.eye(2, dtype=torch.float64)[[0, 0, 1]]
    ids = torch.tensor([0, 0, 1])
    shared = dense_info_nce(images, images, 100.0, positives=(ids, ids))
    assert shared.item() == pytest.approx(math.log(2) * 2 / 3)
    assert dense_sigmoid_loss(images, images, 100.0, -50.0, positives=(ids, ids)).item() < 1e-20
    assert dense_sigmoid_loss(images, images, 100.0, -50.0).item() > 30
