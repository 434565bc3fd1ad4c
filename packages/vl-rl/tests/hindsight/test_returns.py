"""Returns against a double loop, and percentiles against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import percentileofscore
from vl_rl.hindsight import returns
from vl_rl.hindsight.returns import discounted_returns, percentiles, returns_by_loop

from .families import FAMILIES, random_paths

LENGTHS = {"equal": [15] * 40, "ragged": [1, 7, 30, 2, 1, 400, 15, 3], "one": [1]}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("name", FAMILIES)
def test_returns_equal_a_plain_double_loop(name: str, lengths: list[int], monkeypatch) -> None:
    monkeypatch.setattr(returns, "_CHUNK", 1000)  # several portions, and paths longer than one
    rng = np.random.default_rng(0)
    family, paths = FAMILIES[name], random_paths(name, lengths, rng)
    tasks = family.sample_tasks(30, rng).astype(np.float32)
    expected = returns_by_loop(family, paths, tasks, 0.97)
    assert np.abs(discounted_returns(family, paths, tasks, 0.97) - expected).max() < 1e-12


def test_the_loop_is_a_sum_of_discounted_rewards() -> None:
    """The reference itself, on a path whose return is known: targets at 2 are met at the third step."""
    paths = random_paths("ending", [4], np.random.default_rng(0))
    paths.transitions.features[:, 0] = [0, 1, 2, 2]
    found = returns_by_loop(FAMILIES["ending"], paths, np.array([[2.0], [1.0], [7.0]]), 0.5)
    assert found.tolist() == [[0.25, 0.5, 0.0]]


def test_percentiles_equal_brute_force_with_ties() -> None:
    rng = np.random.default_rng(1)
    table = rng.integers(0, 4, (37, 50)).astype(np.float64)
    table[:, 0] = 0
    for path in (0, 20, 36):
        expected = [percentileofscore(column, column[path], kind="mean") / 100 for column in table.T]
        np.testing.assert_allclose(percentiles(table, path), expected, atol=1e-14)


def test_a_path_among_equals_ranks_in_the_middle_wherever_it_stands() -> None:
    table = np.zeros((10, 1))
    assert {percentiles(table, path).item() for path in range(10)} == {0.5}
