"""Each task is played exactly once, in any kind of vector environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize
from vl_rl.hindsight.evaluation import evaluate_tasks

from .families import Line


class Walker:
    """A policy that walks towards its task by a fifth of the way left, and counts the beginnings that it is told of."""

    def __init__(self) -> None:
        self.begun = 0

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        self.begun += int(episode_start.sum())
        return np.clip((observation["desired_goal"] - observation["observation"]) / 2, -2, 2), state


def counting_line() -> Monitor:
    return Monitor(Line())


@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize("kind", [DummyVecEnv, pytest.param(SubprocVecEnv, marks=pytest.mark.slow)])
def test_each_task_is_played_exactly_once(
    kind: Any, n_envs: int, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The processes of the environments import this module by its name, which begins at the root of the repository.
    monkeypatch.syspath_prepend(pytestconfig.rootpath)
    tasks = np.array([[4.0], [1.0], [-1.0], [0.0], [3.0], [-4.0], [2.0], [7.5], [-2.0]])
    venv = kind([counting_line] * n_envs)
    try:
        found = evaluate_tasks(Walker(), venv, tasks)
        plays = [episode for i in range(n_envs) for episode in venv.get_attr("episode_returns")[i]]
    finally:
        venv.close()
    alone = [evaluate_tasks(Walker(), Line(), [task]) for task in tasks]
    np.testing.assert_array_equal(found.returns, [one.returns[0] for one in alone])
    np.testing.assert_array_equal(found.lengths, [one.lengths[0] for one in alone])
    np.testing.assert_array_equal(found.tasks, tasks.astype(np.float32))
    assert found.lengths.tolist() == [4, 2, 2, 1, 3, 4, 3, 5, 3]
    assert len(plays) >= len(tasks)


def test_tasks_are_the_familys_own_by_default() -> None:
    env = gymnasium.make("vl_rl/PointTrajectory-v0")
    walker = Walker()
    walker.predict = lambda observation, **_: (np.zeros((1, 2)), None)  # type: ignore[method-assign]
    found = evaluate_tasks(walker, env)
    np.testing.assert_array_equal(found.tasks, env.unwrapped.task_family.evaluation_tasks())
    assert set(found.lengths) == {15}


def test_an_environment_draws_tasks_again_afterwards() -> None:
    env = Line()
    evaluate_tasks(Walker(), env, [[9.0]] * 3)
    assert {env.reset()[0]["desired_goal"].item() for _ in range(20)} <= set(range(-4, 5))


def test_rewards_are_the_environments_own_under_normalization() -> None:
    venv = VecNormalize(DummyVecEnv([Line]), norm_obs=False, norm_reward=True, training=False)
    venv.ret_rms.var = np.array(100.0)
    assert evaluate_tasks(Walker(), venv, [[1.0], [2.0]]).returns.tolist() == [1.0, 1.0]


def test_an_environment_that_plays_another_task_is_refused() -> None:
    class Deaf(Line):
        def set_tasks(self, tasks: Any, *, cycle: bool = False) -> None:
            del tasks, cycle

    with pytest.raises(RuntimeError, match="was to play the task"):
        evaluate_tasks(Walker(), Deaf(), [[7.0]])


def test_an_environment_without_a_family_is_refused() -> None:
    with pytest.raises(ValueError, match="task_family"):
        evaluate_tasks(Walker(), gymnasium.make("Pendulum-v1"))


def test_a_task_outside_the_space_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task space .*got \[11.0\] at index 1"):
        evaluate_tasks(Walker(), Line(), [[1.0], [11.0]])
