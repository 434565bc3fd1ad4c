"""Draws requested by each search, and its predictions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from vl_diffusion import Exhaustive, Halving, LabelTree, Racing, Search, SearchInput, Shortlist, Staged
from vl_diffusion.search import nested_order

PAPER_CIFAR = {"draws": (50, 500), "keep": (5, 1)}
PAPER_IMAGENET = {"draws": (50, 100, 500, 1000), "keep": (500, 50, 10, 1)}


def converse(search: Search, num_classes: int, answer: Callable[[np.ndarray, np.ndarray], np.ndarray]):
    """Answer a search's requests; its result and how often each entry ``(K, M)`` was asked for."""
    asked = np.zeros((num_classes, search.num_draws), int)
    requests = search.requests(SearchInput(num_classes, logits=np.zeros(num_classes)))
    classes, draws = next(requests)
    while True:
        asked[np.ix_(classes, draws)] += 1
        try:
            classes, draws = requests.send(answer(classes, draws))
        except StopIteration as end:
            return end.value, asked


def play(search: Search, errors: np.ndarray) -> tuple[int, np.ndarray]:
    """Answer a search's requests from a table ``(K, M)``."""
    return converse(search, len(errors), lambda classes, draws: errors[np.ix_(classes, draws)])


def table(num_classes: int, num_draws: int, best: int) -> np.ndarray:
    rng = np.random.default_rng(num_classes)
    errors = rng.normal(1, 0.1, num_draws) + rng.normal(0, 0.02, (num_classes, num_draws))
    errors[best] -= 0.05
    return errors


def tree(num_classes: int, inner: Search, **settings) -> LabelTree:
    """A tree of branches of up to four classes, in pairs."""
    names = [f"class {i}" for i in range(num_classes)]
    branches = {f"branch {i}": names[i : i + 4] for i in range(0, num_classes, 4)}
    pairs = {f"{name} and on": dict(list(branches.items())[i : i + 2]) for i, name in enumerate(branches) if i % 2 == 0}
    return LabelTree(pairs, names, inner, **settings)


SEARCHES: dict[str, Callable[[int], Search]] = {
    "exhaustive": lambda k: Exhaustive(60),
    "staged": lambda k: Staged((6, 20, 60), (5, 2, 1)),
    "literal": lambda k: Staged((6, 20, 60), (5, 2, 1), "literal"),
    "halving": lambda k: Halving(60, first=3),
    "racing": lambda k: Racing(60),
    "racing, expectation": lambda k: Racing(60, aim="expectation", growth=0.5, opening=1),
    "racing, flat": lambda k: Racing(60, level=0.5, opening=0, first=1),
    "racing, bernstein": lambda k: Racing(60, bound="bernstein"),
    "racing, known spread": lambda k: Racing(60, bound="bernstein", spread=50, aim="expectation"),
    "tree": lambda k: tree(k, Racing(60)),
    "tree, mean": lambda k: tree(k, Halving(60, first=3), keep=1, score="mean", representatives=8, draws=5),
    "shortlist": lambda k: Shortlist(Racing(60), top=13),
}
every_search = pytest.mark.parametrize("name", SEARCHES)


@every_search
@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_every_search_finds_an_obvious_winner(name, num_classes):
    for best in range(num_classes):
        errors = table(num_classes, 60, best)
        errors[best] -= 0.2
        prediction, asked = play(SEARCHES[name](num_classes), errors)
        assert prediction == best
        assert asked[best].sum() > 0


@every_search
@pytest.mark.parametrize("num_classes", [2, 9, 30])
def test_no_search_spends_more_than_its_budget_or_asks_twice(name, num_classes):
    search, rng = SEARCHES[name](num_classes), np.random.default_rng(0)
    total = np.zeros(num_classes)

    def turning(classes: np.ndarray, draws: np.ndarray) -> np.ndarray:
        # Whoever leads falls behind, so that no lead lasts.
        errors = rng.normal(0, 0.1, (len(classes), len(draws)))
        errors[total[classes].argmin()] += 3
        total[classes] += errors.sum(1)
        return errors

    answers = {
        "turning": turning,
        "tied": lambda classes, draws: np.ones((len(classes), len(draws))),
        "noise": lambda classes, draws: rng.normal(0, 1, (len(classes), len(draws))),
        "certain": lambda classes, draws: np.tile(classes[:, None] / num_classes, len(draws)),
        "far apart": lambda classes, draws: np.tile(1.0 * (classes[:, None] == 1) - 7, len(draws)),
    }
    for limit in (None, 2 * num_classes + 31, 5 * num_classes + 32, 100_000):
        limited = replace(search, max_evaluations=limit)
        budget = limited.budget(num_classes)
        assert limit is None or budget <= limit
        for answer in answers.values():
            total[:] = 0
            prediction, asked = converse(limited, num_classes, answer)
            assert asked.max() == 1
            assert asked.sum() <= budget
            assert asked[prediction].sum() > 0


@every_search
def test_a_tie_goes_to_the_smaller_index(name):
    assert play(SEARCHES[name](6), np.ones((6, 60)))[0] == 0


@every_search
def test_a_single_class_is_predicted(name):
    prediction, asked = play(SEARCHES[name](1), np.ones((1, 60)))
    assert prediction == 0
    assert asked.sum() > 0


@every_search
def test_a_budget_below_one_draw_of_each_class_is_refused(name):
    search = replace(SEARCHES[name](9), max_evaluations=8)
    with pytest.raises(ValueError, match=r"max_evaluations must be at least \d+, one draw of .*, got 8"):
        search.budget(9)
    with pytest.raises(ValueError, match="max_evaluations must be at least"):
        next(search.requests(SearchInput(9, logits=np.zeros(9))))


@every_search
def test_budgets_must_be_integers(name):
    with pytest.raises(ValueError, match="max_evaluations must be at least 1, got 0"):
        replace(SEARCHES[name](9), max_evaluations=0)
    with pytest.raises(TypeError, match=r"max_evaluations must be an integer, got 9\.5"):
        replace(SEARCHES[name](9), max_evaluations=9.5)


@every_search
def test_equal_settings_are_equal_and_hashable(name):
    assert SEARCHES[name](9) == SEARCHES[name](9)
    assert hash(SEARCHES[name](9)) == hash(SEARCHES[name](9))


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


def test_literal_grids_are_strided_without_previous_draws():
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


def test_fewer_classes_than_survivors_are_all_kept():
    search = Staged((10, 20), (5, 1))
    _, asked = play(search, table(3, 20, best=1))
    assert asked.sum() == 60 == search.budget(3)


def test_exhaustive_search_evaluates_all_draws():
    prediction, asked = play(Exhaustive(25), table(10, 25, best=3))
    assert prediction == 3
    assert (asked == 1).all()
    assert Exhaustive(25).budget(10) == 250


def test_halving_rounds_cost_the_same_and_halve_the_classes():
    search = Halving(250, first=8)
    _, asked = play(search, table(8, 250, best=3))
    # 8 draws of 8 classes, 16 of 4, and all that are left of 2.
    assert sorted(asked.sum(1).tolist()) == [8] * 4 + [24] * 2 + [250] * 2
    assert asked.sum() == 2 * 64 + 2 * 226 == search.budget(8)
    order = nested_order(250)
    for row in asked:
        assert set(np.flatnonzero(row)) == set(order[: row.sum()])


def test_the_last_two_classes_of_halving_get_all_affordable_draws():
    prediction, asked = play(Halving(), table(2, 250, best=1))
    assert prediction == 1
    assert asked.sum(1).tolist() == [250, 250]
    _, asked = play(Halving(max_evaluations=101), table(2, 250, best=1))
    assert asked.sum(1).tolist() == [50, 50]
    _, asked = play(Halving(max_evaluations=64 + 64 + 30), table(8, 250, best=3))
    assert sorted(asked.sum(1).tolist()) == [8] * 4 + [24] * 2 + [39] * 2


def test_halving_ends_with_the_last_draw():
    _, asked = play(Halving(20, first=8), table(8, 20, best=3))
    assert sorted(asked.sum(1).tolist()) == [8] * 4 + [20] * 4


def test_a_budget_shortens_a_stage_to_evenly_spread_draws():
    search = Staged((5, 20, 80), (3, 2, 1), max_evaluations=10 * 5 + 3 * 7 + 2)
    prediction, asked = play(search, table(10, 80, best=4))
    assert prediction == 4
    assert sorted(asked.sum(1).tolist()) == [5] * 7 + [12] + [13] * 2
    assert np.diff(np.flatnonzero(asked[4])).max() <= 16
    _, asked = play(Exhaustive(80, max_evaluations=49), table(10, 80, best=4))
    assert (asked.sum(1) == 4).all()
    assert np.flatnonzero(asked[4]).tolist() == [0, 20, 40, 60]


def test_stages_may_be_lists_of_any_integers():
    search = Staged(draws=[np.int64(2), 4], keep=[2, 1])
    assert search == Staged((2, 4), (2, 1))
    assert hash(search) == hash(Staged((2, 4), (2, 1)))
    assert [len(new) for new in search.stages()] == [2, 2]
    assert Exhaustive(np.int64(3)) == Exhaustive(3)


@pytest.mark.parametrize(
    ("search", "settings", "error", "message"),
    [
        (Staged, {"draws": (), "keep": ()}, ValueError, "one entry per stage"),
        (Staged, {"draws": (5, 10), "keep": (1,)}, ValueError, "one entry per stage"),
        (Staged, {"draws": (10, 10), "keep": (2, 1)}, ValueError, "increase"),
        (Staged, {"draws": (0, 10), "keep": (2, 1)}, ValueError, "positive"),
        (Staged, {"draws": (5, 10), "keep": (3, 2)}, ValueError, "end in 1"),
        (Staged, {"draws": (5, 10), "keep": (1, 1)}, ValueError, "decrease"),
        (Staged, {"draws": (5, 10), "keep": (2, 1), "grid": "random"}, ValueError, "nested or literal"),
        (Staged, {"trials": 0}, ValueError, "trials must be at least 1, got 0"),
        (Exhaustive, {"grid": "random"}, ValueError, "grid must be nested or literal, got 'random'"),
        (Exhaustive, {"draws": 0}, ValueError, "draws must be at least 1, got 0"),
        (Halving, {"draws": 0}, ValueError, "draws must be at least 1, got 0"),
        (Halving, {"draws": 7, "first": 8}, ValueError, r"first must be at most draws \(7\), got 8"),
        (Shortlist, {"top": 0}, ValueError, "top must be at least 1, got 0"),
        (
            Staged,
            {"draws": (2.5, 4), "keep": (2, 1)},
            TypeError,
            r"draws must be a sequence of integers, one per stage, got \(2\.5, 4\)",
        ),
        (
            Staged,
            {"draws": (2, 4), "keep": ("2", 1)},
            TypeError,
            r"keep must be a sequence of integers, one per stage, got \('2', 1\)",
        ),
        (Staged, {"draws": 4, "keep": (2, 1)}, TypeError, "draws must be a sequence of integers, one per stage, got 4"),
        (
            Staged,
            {"draws": "24", "keep": (2, 1)},
            TypeError,
            "draws must be a sequence of integers, one per stage, got '24'",
        ),
        (Exhaustive, {"draws": 2.0}, TypeError, r"draws must be an integer, got 2\.0 of type float"),
        (Exhaustive, {"draws": (8,)}, TypeError, r"draws must be an integer, got \(8,\) of type tuple"),
        (Racing, {"draws": 2.5}, TypeError, r"draws must be an integer, got 2\.5"),
        (Racing, {"draws": 0}, ValueError, "draws must be at least 1, got 0"),
        (Racing, {"level": 0}, ValueError, "level must lie between 0 and 1, got 0"),
        (Racing, {"level": 5}, ValueError, "level must lie between 0 and 1, got 5"),
        (Racing, {"bound": "z"}, ValueError, "bound must be t or bernstein, got 'z'"),
        (Racing, {"aim": "mean"}, ValueError, "aim must be draws or expectation, got 'mean'"),
        (
            Racing,
            {"draws": 10, "opening": 20},
            ValueError,
            r"opening must be less than draws \(10\), so that some are left to test, got 20",
        ),
        (
            Racing,
            {"draws": 10, "opening": 10},
            ValueError,
            r"opening must be less than draws \(10\), so that some are left to test, got 10",
        ),
        (Racing, {"opening": -1}, ValueError, "opening must be at least 0, got -1"),
        (Racing, {"first": 0}, ValueError, "first must be at least 1, got 0"),
        (Racing, {"growth": 0}, ValueError, "growth must be positive and finite, got 0"),
        (Racing, {"prior": math.inf}, ValueError, "prior must be positive and finite, got inf"),
        (Racing, {"bound": "bernstein", "spread": -1}, ValueError, "spread must be positive and finite, got -1"),
        (Racing, {"spread": 1.0}, ValueError, "spread is only used with bound='bernstein'"),
        (Racing, {"bound": "bernstein", "opening": 0}, ValueError, "opening must be at least 1 to estimate spread"),
    ],
)
def test_invalid_settings_are_refused(search, settings, error, message):
    with pytest.raises(error, match=message):
        search(**settings)
