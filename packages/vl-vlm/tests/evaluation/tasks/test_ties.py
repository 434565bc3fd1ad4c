"""Closed forms against every order of tied scores, one by one."""

from itertools import permutations
from math import comb

import numpy as np
import pytest
from vl_vlm.evaluation.tasks.ties import Standing, expected_separations, expected_wins, standing


def orders(scores):
    """Rankings, best first, that all tie-breaking noise of one size can lead to."""
    noise = permutations(range(len(scores)))
    return [sorted(range(len(scores)), key=lambda place: (-scores[place], order[place])) for order in noise]


@pytest.mark.parametrize("seed", range(20))
def test_expected_hits_are_the_share_of_all_tie_breakings(seed):
    generator = np.random.default_rng(seed)
    scores, right = generator.integers(0, 3, 6), generator.random(6) < 0.4
    right[generator.integers(6)] = True
    place = standing(scores[None].astype(float), right[None])
    rankings = orders(scores)
    for k in range(1, 7):
        share = np.mean([right[ranking[:k]].any() for ranking in rankings])
        assert place.expected_hits(k)[0] == pytest.approx(share, abs=1e-12)
        if not place.tied[0]:
            assert place.strict_hits(k)[0] == share


@pytest.mark.parametrize("ties", [1, 2, 3, 10])
def test_a_tie_of_n_counts_one_nth_and_strictly_nothing(ties):
    scores = np.array([[1.0] * ties + [0.0] * 3])
    place = standing(scores, np.arange(ties + 3)[None] == 0)
    assert place.expected_hits(1)[0] == pytest.approx(1 / ties)
    assert place.strict_hits(1)[0] == (ties == 1)
    assert place.tied[0] == (ties > 1)


def test_hits_by_hand():
    # Three above; two right and three wrong share the next five places, of which k = 5 takes two.
    place = Standing(np.array([3]), np.array([2]), np.array([3]))
    assert place.expected_hits(3)[0] == 0
    assert place.expected_hits(5)[0] == pytest.approx(1 - comb(3, 2) / comb(5, 2))
    assert place.expected_hits(7)[0] == pytest.approx(1)  # four of five places: only three are wrong
    assert (place.strict_hits(6)[0], place.strict_hits(7)[0]) == (0, 1)


@pytest.mark.parametrize("seed", range(30))
def test_pair_scores_are_the_share_of_all_tie_breakings(seed):
    a, b, c, d = scores = np.random.default_rng(seed).integers(0, 1 + seed % 4, 4)
    ranks = [{item: -place for place, item in enumerate(ranking)} for ranking in orders(scores)]
    text = [r[0] > r[2] and r[3] > r[1] for r in ranks]
    image = [r[0] > r[1] and r[3] > r[2] for r in ranks]
    both = [x and y for x, y in zip(text, image, strict=True)]
    assert expected_wins(a, c) * expected_wins(d, b) == pytest.approx(np.mean(text))
    assert expected_wins(a, b) * expected_wins(d, c) == pytest.approx(np.mean(image))
    assert expected_separations(np.array([[a, d]]), np.array([[b, c]]))[0] == pytest.approx(np.mean(both))
