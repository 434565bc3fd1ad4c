"""The environments: checkers, rewards of the family at every step, tasks by their own method, images."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3
from vl_rl.envs.registration import register_envs
from vl_rl.hindsight.returns import Paths, discounted_returns, returns_by_loop
from vl_rl.hindsight.tasks import Transitions

NAMES = ["PointTrajectory", "PointReacher", "HalfCheetahMultiObjective", "AntDirection"]
PLANE = NAMES[:2]
each_name = pytest.mark.parametrize("name", NAMES)


def make(name: str, **options: Any) -> Any:
    return gymnasium.make(f"vl_rl/{name}-v0", **options)


def play(env: Any, steps: int, seed: int = 0) -> list[tuple[Transitions, np.ndarray, float]]:
    """Transitions, tasks and rewards of random actions."""
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    found = []
    for _ in range(steps):
        action = env.action_space.sample()
        after, reward, terminated, truncated, _ = env.step(action)
        parts = (observation["observation"], action, after["observation"], after["achieved_goal"])
        found.append((Transitions(*parts), observation["desired_goal"], reward))
        observation = env.reset()[0] if terminated or truncated else after
    return found


@each_name
def test_both_checkers_are_content(name: str) -> None:
    env = make(name, render_mode="rgb_array" if name in PLANE else None)
    with warnings.catch_warnings():
        # Positions and velocities of MuJoCo have no bounds, in gymnasium's own environments neither.
        warnings.filterwarnings("ignore", ".*Box observation space (min|max)imum value is", UserWarning)
        check_env(env.unwrapped, skip_render_check=name not in PLANE)
        check_env_of_sb3(env.unwrapped)


@each_name
def test_every_reward_is_the_familys_for_the_numbers_that_were_seen(name: str) -> None:
    env = make(name)
    family = env.unwrapped.task_family
    for transition, task, reward in play(env, 300):
        assert abs(family.reward(transition, task.astype(np.float64)) - reward) < 1e-6


@each_name
def test_returns_of_the_rollouts_equal_the_double_loop(name: str) -> None:
    env = make(name)
    family = env.unwrapped.task_family
    steps = [transition for transition, _, _ in play(env, 60, seed=1)]
    stacked = Transitions(*(np.stack([vars(step)[field] for step in steps]) for field in vars(steps[0])))
    paths, tasks = Paths(stacked, np.array([20, 25, 15])), family.evaluation_tasks()
    expected = returns_by_loop(family, paths, tasks, 0.97)
    assert np.abs(discounted_returns(family, paths, tasks, 0.97) - expected).max() < 1e-12 * max(
        1, np.abs(expected).max()
    )


@each_name
def test_one_seed_gives_one_rollout(name: str) -> None:
    first, second = play(make(name), 40), play(make(name), 40)
    assert [reward for *_, reward in first] == [reward for *_, reward in second]


@each_name
def test_families_draw_tasks_of_their_space_and_achieve_such_ones(name: str) -> None:
    family = make(name).unwrapped.task_family
    tasks = family.sample_tasks(500, np.random.default_rng(0)).astype(np.float32)
    assert all(family.task_space.contains(task) for task in tasks)
    assert family.evaluation_tasks().shape[0] == 25
    if hasattr(family, "achieved_tasks"):
        transition, task, _ = play(make(name), 12)[-1]
        achieved = np.asarray(family.achieved_tasks(transition, task.astype(np.float64)), dtype=np.float32)
        assert family.task_space.contains(achieved)
        values = [family.reward(transition, one.astype(np.float64)) for one in [achieved, *tasks]]
        assert name == "PointTrajectory" or values[0] >= family.reward(transition, task.astype(np.float64))


@each_name
def test_tasks_are_set_by_the_environments_own_method(name: str) -> None:
    env = make(name)
    first, second = env.unwrapped.task_family.evaluation_tasks()[[3, 7]]
    shown = lambda: env.reset()[0]["desired_goal"].tolist()  # noqa: E731
    env.unwrapped.set_tasks([first, second])
    assert [shown(), shown()] == [first.tolist(), second.tolist()]
    assert shown() not in [first.tolist(), second.tolist()]
    env.unwrapped.set_tasks([first, second], cycle=True)
    assert [shown() for _ in range(4)] == [first.tolist(), second.tolist()] * 2
    observation, _ = env.reset(options={"task": second})
    assert observation["desired_goal"].tolist() == second.tolist()


@pytest.mark.parametrize(("name", "horizon"), [("PointTrajectory", 15), ("PointReacher", 20)])
def test_episodes_are_truncated_at_the_horizon(name: str, horizon: int) -> None:
    env = make(name)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(horizon)]
    assert ends == [(False, False)] * (horizon - 1) + [(False, True)]


def test_the_reward_of_a_trajectory_grows_along_the_curve_and_vanishes_beside_it() -> None:
    family = make("PointTrajectory").unwrapped.task_family
    task = np.array([np.pi / 2, 0.8, 0.2])  # upwards, bending to the left
    peak = 1 / (0.05 * np.sqrt(2 * np.pi))
    points = np.array([[0, 0.8], [-0.2, 0.4], [0.2, 0.4], [0, -0.4]])
    found = family.reward(Transitions(points, points, points, points), task)
    np.testing.assert_allclose(found, [peak, peak / 2, 0, 0], atol=1e-6)


def test_an_ant_at_rest_has_a_finite_reward_and_only_its_direction_counts() -> None:
    family = make("AntDirection").unwrapped.task_family
    features = np.array([[0, 0, 0.5], [2, 0, 0.5], [2, 0.6, 0.5], [-2, 0, 0.5]])
    found = family.reward(Transitions(features, features, features, features), np.zeros(1))
    np.testing.assert_allclose(found, [0.5, 2.5, 0.5, 0.5])


@pytest.mark.parametrize("name", PLANE)
def test_images_show_the_path_and_the_task(name: str) -> None:
    env = make(name, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    for _ in range(5):
        env.step(np.full(2, 0.4, dtype=np.float32))
    second = env.render()
    assert first.shape == (256, 256, 3)
    assert first.dtype == np.uint8
    assert (first != second).any()
    assert len(np.unique(second.reshape(-1, 3), axis=0)) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[2:])
def test_robots_are_rendered_without_a_display(name: str, tmp_path: Path) -> None:
    code = (
        f"import gymnasium, vl_rl; e = gymnasium.make('vl_rl/{name}-v0', render_mode='rgb_array', width=64, height=48)"
    )
    code += "; e.reset(seed=0); image = e.render(); e.close(); assert image.shape == (48, 64, 3) and image.std() > 1"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "MUJOCO_GL": "egl"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [*tmp_path.iterdir()] == []


def test_registering_twice_changes_nothing() -> None:
    before = dict(gymnasium.registry)
    register_envs()
    assert before == gymnasium.registry
    assert {f"vl_rl/{name}-v0" for name in NAMES} <= before.keys()


def test_a_fresh_process_makes_an_environment_by_the_packages_name_and_loads_no_simulator(tmp_path: Path) -> None:
    code = "import gymnasium, sys; env = gymnasium.make('vl_rl:vl_rl/PointTrajectory-v0'); env.reset(seed=0)"
    code += "; assert 'mujoco' not in sys.modules and 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
