"""Each strategy chooses what its definition says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import percentileofscore
from vl_rl.hindsight.returns import Paths, returns_by_loop
from vl_rl.hindsight.strategies import STRATEGIES, Hindsight

from .families import FAMILIES, random_paths


def situation(name: str = "curves", **changes: Any) -> Hindsight:
    """A new path of eight steps after twenty others, with a value function that is the task's first number."""
    rng = np.random.default_rng(0)
    family = FAMILIES[name]
    paths = random_paths(name, [8], rng)
    others = random_paths(name, [8] * 20, rng)
    values: dict[str, Any] = {
        "family": family,
        "path": paths.transitions,
        "task": family.sample_tasks(1, rng)[0].astype(np.float32),
        "rng": np.random.default_rng(5),
        "gamma": 0.9,
        "n_relabels": 3,
        "n_candidates": 12,
        "earlier": lambda: others,
        "value": lambda observations, tasks: 100.0 * tasks[:, 0],
        "ties": "return",
    }
    return Hindsight(**{**values, **changes})


def candidates(hindsight: Hindsight) -> np.ndarray:
    """The same draw as the strategy's own."""
    drawn = hindsight.family.sample_tasks(hindsight.n_candidates - 1, np.random.default_rng(5))
    return np.concatenate([hindsight.task[None], drawn]).astype(np.float32)


def own_returns(hindsight: Hindsight, tasks: np.ndarray) -> np.ndarray:
    return returns_by_loop(hindsight.family, Paths(hindsight.path, np.array([8])), tasks, 0.9)[0]


@pytest.mark.parametrize("count", [1, 3, 12])
def test_reward_takes_the_largest_returns(count: int) -> None:
    hindsight = situation(n_relabels=count)
    tasks = candidates(hindsight)
    expected = tasks[np.argsort(-own_returns(hindsight, tasks), kind="stable")[:count]]
    np.testing.assert_array_equal(STRATEGIES["reward"](hindsight), expected)


def test_advantage_subtracts_the_value() -> None:
    hindsight = situation()
    tasks = candidates(hindsight)
    expected = tasks[np.argsort(-(own_returns(hindsight, tasks) - 100.0 * tasks[:, 0]), kind="stable")[:3]]
    np.testing.assert_array_equal(STRATEGIES["advantage"](hindsight), expected)


@pytest.mark.parametrize("ties", ["return", "advantage"])
@pytest.mark.parametrize("name", FAMILIES)
def test_air_takes_the_highest_percentiles_and_breaks_ties(name: str, ties: str) -> None:
    hindsight = situation(name, ties=ties)
    tasks = candidates(hindsight)
    earlier = hindsight.earlier()
    assert earlier is not None
    own = own_returns(hindsight, tasks)
    others = returns_by_loop(hindsight.family, earlier, tasks, 0.9)
    ranks = [percentileofscore(np.append(others[:, j], own[j]), own[j], kind="mean") for j in range(len(tasks))]
    second = own - 100.0 * tasks[:, 0] if ties == "advantage" else own
    order = sorted(range(len(tasks)), key=lambda j: (-round(ranks[j], 9), -second[j], j))
    np.testing.assert_array_equal(STRATEGIES["air"](hindsight), tasks[order[:3]])


def test_air_without_earlier_paths_falls_back_on_ties() -> None:
    hindsight = situation(earlier=lambda: None)
    tasks = candidates(hindsight)
    expected = tasks[np.argsort(-own_returns(hindsight, tasks), kind="stable")[:3]]
    np.testing.assert_array_equal(STRATEGIES["air"](hindsight), expected)


def test_her_takes_what_the_path_achieved() -> None:
    hindsight = situation("ending", n_relabels=5)
    positions = hindsight.path.features[:, 0]
    assert STRATEGIES["her_final"](hindsight).tolist() == [[positions[-1]]]
    future = STRATEGIES["her_future"](hindsight)[..., 0]
    assert future.shape == (5, 8)
    for step in range(8):
        assert np.isin(future[:, step], positions[step:]).all()
    assert (future[:, -1] == positions[-1]).all()
    assert len(np.unique(future[:, 0])) > 1


def test_none_and_random() -> None:
    assert STRATEGIES["none"](situation()).shape == (0, 3)
    np.testing.assert_array_equal(
        STRATEGIES["random"](situation()),
        FAMILIES["curves"].sample_tasks(3, np.random.default_rng(5)).astype(np.float32),
    )


def test_her_refuses_a_family_without_achieved_tasks() -> None:
    with pytest.raises(ValueError, match="achieved_tasks, got ObjectiveTasks"):
        STRATEGIES["her_final"](situation("linear"))
