"""Races: which draws a class sees, and how seldom the best one is dropped."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from vl_diffusion import DiffusionClassifier, Exhaustive, Racing, SearchInput
from vl_diffusion.search import nested_order


def race(search: Racing, errors: np.ndarray) -> tuple[int, np.ndarray]:
    """The winner, and on how many draws each class was seen."""
    seen = np.zeros(len(errors), int)
    requests = search.requests(SearchInput(len(errors)))
    classes, draws = next(requests)
    while True:
        seen[classes] += len(draws)
        try:
            classes, draws = requests.send(errors[np.ix_(classes, draws)])
        except StopIteration as end:
            return end.value, seen


def simulate(rng: np.random.Generator, num_classes: int, num_draws: int, gap: float) -> np.ndarray:
    """Paired errors of which class 0 is the best by `gap` deviations of a difference."""
    errors = rng.normal(5, 3, num_draws) + rng.normal(0, math.sqrt(0.5), (num_classes, num_draws))
    errors[0] -= gap
    return errors


def test_a_class_sees_a_prefix_of_the_nested_order_and_the_winner_the_longest():
    errors = simulate(np.random.default_rng(0), 8, 250, 0.5) + np.linspace(0, 3, 8)[:, None]
    asked = np.zeros((8, 250), bool)
    requests = Racing().requests(SearchInput(8))
    classes, draws = next(requests)
    rounds = [(len(classes), len(draws))]
    while True:
        asked[np.ix_(classes, draws)] = True
        try:
            classes, draws = requests.send(errors[np.ix_(classes, draws)])
        except StopIteration as end:
            winner = end.value
            break
        rounds.append((len(classes), len(draws)))
    assert winner == 0
    for row in asked:
        assert set(np.flatnonzero(row)) == set(nested_order(250)[: row.sum()])
    assert asked.sum(1).argmax() == 0
    classes_in, draws_in = zip(*rounds, strict=True)
    assert rounds[0] == (8, 6)
    assert list(classes_in) == sorted(classes_in, reverse=True)
    assert list(draws_in[1:]) == sorted(draws_in[1:])


@pytest.mark.parametrize("bound", ["t", "bernstein"])
def test_the_best_class_is_dropped_no_more_often_than_the_level_says(bound):
    rng, races, level = np.random.default_rng(1), 300, 0.1
    search = Racing(400, level=level, bound=bound, aim="expectation", spread=8 if bound == "bernstein" else None)
    lost = sum(race(search, simulate(rng, 5, 400, 0.4))[0] != 0 for _ in range(races))
    assert lost <= stats.binom.isf(1e-4, races, level)


@pytest.mark.parametrize("bound", ["t", "bernstein"])
def test_a_race_finds_what_exhaustive_search_finds_even_among_equals(bound):
    # No class is better in expectation. What is best on the draws there are is found all the same, for less.
    rng, races, level = np.random.default_rng(2), 300, 0.1
    search = Racing(100, level=level, bound=bound, spread=8 if bound == "bernstein" else None)
    other, evaluations = 0, 0
    for _ in range(races):
        errors = simulate(rng, 4, 100, 0)
        winner, seen = race(search, errors)
        other += winner != errors.mean(1).argmin()
        evaluations += seen.sum()
    assert other <= stats.binom.isf(1e-4, races, level)
    # The bound of eight deviations is too wide for the other to see anything in so few draws.
    assert evaluations < 0.95 * races * 400 or bound == "bernstein"


@pytest.mark.parametrize("opening", [0, 2])
def test_shares_against_a_class_add_up_to_at_most_the_level(opening):
    rng = np.random.default_rng(3)
    for num_classes in (2, 3, 10, 1000):
        shares = Racing(opening=opening)._shares(rng.normal(0, 1, (num_classes, opening)))
        assert (shares.sum() - shares <= 1 + 1e-12).all()
        assert shares.sum() >= 1 - 1e-12


def test_likely_leaders_get_more_of_the_level():
    opening = np.array([[3.0, 3], [1, 1], [4, 4], [2, 2]])
    assert Racing()._shares(opening) == pytest.approx(1.25 * np.array([1 / 12, 1 / 2, 1 / 20, 1 / 6]))


def test_wider_gaps_cost_less():
    costs = []
    for gap in (0.25, 0.5, 1, 2):
        rng = np.random.default_rng(4)
        search = Racing(2000, aim="expectation")
        costs.append(np.mean([race(search, simulate(rng, 4, 2000, gap))[1].sum() for _ in range(30)]))
    # Four times fewer for twice the gap, as long as that is not a handful.
    assert costs[0] / costs[1] == pytest.approx(4, rel=0.3)
    assert costs == sorted(costs, reverse=True)


def test_races_are_invariant_to_common_effects_and_units():
    errors = simulate(np.random.default_rng(5), 6, 250, 0.3)
    winner, seen = race(Racing(), errors)
    moved = 1e-3 * (errors + np.linspace(0, 50, 250))
    assert race(Racing(), moved)[0] == winner
    assert (race(Racing(), moved)[1] == seen).all()


def test_a_spread_that_does_not_bound_the_differences_is_an_error():
    errors = np.zeros((3, 60))
    errors[1] = 2.5
    with pytest.raises(ValueError, match=r"spread must bound .* got 2 and a difference of 2\.5"):
        race(Racing(60, bound="bernstein", spread=2), errors)
    assert race(Racing(60, bound="bernstein", spread=3), errors)[0] == 0


def test_an_estimated_spread_clips_larger_differences():
    errors = simulate(np.random.default_rng(6), 3, 250, 1)
    errors[0, nested_order(250)[30]] -= 1e6
    assert race(Racing(bound="bernstein"), errors)[0] == 0


def test_a_race_of_two_draws_finds_the_best_class():
    assert race(Racing(2), np.array([[2.0, 2.0], [1.0, 1.0]]))[0] == 1


def test_the_classifier_races(pixel_dit_folder):
    images = np.random.default_rng(7).integers(0, 256, (3, 28, 28), np.uint8)
    race = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=Racing(24, max_evaluations=150))
    result = race.classify(list(images))
    evaluations = result.evaluations
    assert (evaluations.sum(1) <= 150).all()
    assert (evaluations[np.arange(3), result.predictions] == evaluations.max(1)).all()
    # Intervals that allow for the race are wider.
    ends = [result.difference_intervals(anytime=anytime) for anytime in (False, True)]
    saw, others = result.draws > 5, np.arange(10) != result.predictions[:, None]
    assert ((ends[1][1] - ends[1][0]) > (ends[0][1] - ends[0][0]))[saw & others].all()
    assert (ends[1][0][~others] == 0).all()
    # With no class dropped, a race is an exhaustive search.
    never = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=Racing(8, level=1e-9))
    every = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=Exhaustive(8))
    expected = every.classify(list(images))
    assert (never.classify(list(images)).predictions == expected.predictions).all()
