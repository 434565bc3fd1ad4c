"""Which draws each search asks for, and what it concludes."""

from __future__ import annotations

import numpy as np
import pytest
from vl_diffusion import Exhaustive, Problem, Search, Staged
from vl_diffusion.search import nested_order

PAPER_CIFAR = {"draws": (50, 500), "keep": (5, 1)}
PAPER_IMAGENET = {"draws": (50, 100, 500, 1000), "keep": (500, 50, 10, 1)}


def play(search: Search, errors: np.ndarray) -> tuple[int, np.ndarray]:
    """Answer a search's requests from a table ``(K, M)``; its verdict and how often each entry was asked for."""
    asked = np.zeros(errors.shape, int)
    requests = search.requests(Problem(len(errors)))
    classes, draws = next(requests)
    while True:
        asked[np.ix_(classes, draws)] += 1
        try:
            classes, draws = requests.send(errors[np.ix_(classes, draws)])
        except StopIteration as end:
            return end.value, asked


def table(num_classes: int, num_draws: int, best: int) -> np.ndarray:
    rng = np.random.default_rng(num_classes)
    errors = rng.normal(1, 0.1, num_draws) + rng.normal(0, 0.02, (num_classes, num_draws))
    errors[best] -= 0.05
    return errors


@pytest.mark.parametrize(
    ("num_classes", "settings", "grid", "evaluations"),
    [
        (10, PAPER_CIFAR, "literal", 2_750),
        (10, PAPER_CIFAR, "nested", 2_750),
        (1000, PAPER_IMAGENET, "literal", 124_500),
        (1000, PAPER_IMAGENET, "nested", 100_000),
    ],
)
def test_staged_search_costs_what_the_paper_and_its_code_cost(num_classes, settings, grid, evaluations):
    search = Staged(**settings, grid=grid)
    prediction, asked = play(search, table(num_classes, search.num_draws, best=7))
    assert asked.sum() == evaluations == search.budget(num_classes)
    assert asked.max() == 1
    assert prediction == 7


def test_literal_grids_are_the_strided_ones_without_what_was_seen():
    # Stage of n out of M draws: every (M // n)-th from (M // n) // 2, minus those before.
    seen: set[int] = set()
    for num, new in zip((50, 100, 500, 1000), Staged(**PAPER_IMAGENET, grid="literal").stages(), strict=True):
        wanted = set(range(1000 // num // 2, 1000, 1000 // num)) - seen
        assert set(new.tolist()) == wanted
        seen |= wanted


@pytest.mark.parametrize("num_draws", [1, 2, 3, 7, 10, 64, 100, 500, 1000])
def test_every_prefix_of_the_nested_order_is_spread_evenly(num_draws):
    order = nested_order(num_draws)
    assert sorted(order.tolist()) == list(range(num_draws))
    for length in range(1, num_draws + 1):
        covered = np.histogram(order[:length], bins=np.linspace(0, num_draws, length + 1))[0]
        # No part of the schedule as long as four even gaps stays empty.
        runs = "".join("x" if n else "." for n in covered).split("x")
        assert max(map(len, runs)) <= 3


def test_stages_of_a_nested_search_contain_those_before():
    stages = Staged((5, 20, 80), (3, 2, 1)).stages()
    assert [len(new) for new in stages] == [5, 15, 60]
    assert sorted(np.concatenate(stages).tolist()) == list(range(80))


def test_survivors_have_the_smallest_mean_over_all_their_draws():
    search = Staged((2, 4), (2, 1))
    first, second = search.stages()
    errors = np.zeros((3, 4))
    errors[:, first] = [[1, 1], [2, 2], [9, 9]]
    # Class 0 leads after the first stage and loses over all four draws.
    errors[:, second] = [[4, 4], [2, 2], [0, 0]]
    prediction, asked = play(search, errors)
    assert prediction == 1
    assert asked.sum(1).tolist() == [4, 4, 2]


def test_a_tie_goes_to_the_first_class():
    assert play(Staged((2, 4), (2, 1)), np.ones((5, 4)))[0] == 0
    assert play(Exhaustive(4), np.ones((5, 4)))[0] == 0


def test_fewer_classes_than_survivors_are_all_kept():
    search = Staged((10, 20), (5, 1))
    _, asked = play(search, table(3, 20, best=1))
    assert asked.sum() == 60 == search.budget(3)


def test_exhaustive_search_shows_every_class_every_draw():
    prediction, asked = play(Exhaustive(25), table(10, 25, best=3))
    assert prediction == 3
    assert (asked == 1).all()
    assert Exhaustive(25).budget(10) == 250


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"draws": (), "keep": ()}, "one entry a stage"),
        ({"draws": (5, 10), "keep": (1,)}, "one entry a stage"),
        ({"draws": (10, 10), "keep": (2, 1)}, "increase"),
        ({"draws": (0, 10), "keep": (2, 1)}, "positive"),
        ({"draws": (5, 10), "keep": (3, 2)}, "end in 1"),
        ({"draws": (5, 10), "keep": (1, 1)}, "decrease"),
        ({"draws": (5, 10), "keep": (2, 1), "grid": "random"}, "nested or literal"),
        ({"draws": (3, 10), "keep": (2, 1), "grid": "literal"}, r"\[3\]"),
    ],
)
def test_stages_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Staged(**arguments)


def test_exhaustive_search_needs_a_draw():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Exhaustive(0)


def test_stages_may_be_lists_of_any_integers():
    search = Staged(draws=[np.int64(2), 4], keep=[2, 1])
    assert search == Staged((2, 4), (2, 1))
    assert hash(search) == hash(Staged((2, 4), (2, 1)))
    assert [len(new) for new in search.stages()] == [2, 2]
    assert Exhaustive(np.int64(3)) == Exhaustive(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Staged((2.5, 4), (2, 1)), r"draws must be a sequence of integers, one a stage, got \(2\.5, 4\)"),
        (lambda: Staged((2, 4), ("2", 1)), r"keep must be a sequence of integers, one a stage, got \('2', 1\)"),
        (lambda: Staged(4, (2, 1)), "draws must be a sequence of integers, one a stage, got 4"),
        (lambda: Staged("24", (2, 1)), "draws must be a sequence of integers, one a stage, got '24'"),
        (lambda: Exhaustive(2.0), r"draws must be an integer, got 2\.0 of type float"),
        (lambda: Exhaustive((8,)), r"draws must be an integer, got \(8,\) of type tuple"),
    ],
)
def test_draws_that_are_no_integers_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
