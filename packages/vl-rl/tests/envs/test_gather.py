"""Apples, bombs and what the robots sense of them."""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np
import pytest
import vl_rl.envs.registration
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_for_stable_baselines3
from vl_rl.envs.gather import GatherEnv
from vl_rl.envs.point_gather import PointGather
from vl_rl.envs.snake_gather import SnakeGather

vl_rl.envs.registration.register_envs()
each_robot = pytest.mark.parametrize("kind", [PointGather, SnakeGather])


def put(env, position, heading=0.0):
    env.data.qpos[:] = 0
    env.data.qpos[:3] = *position, heading
    env.data.qvel[:] = 0
    mujoco.mj_forward(env.model, env.data)


def still(env):
    return np.zeros(env.action_space.shape, np.float32)


@pytest.mark.filterwarnings("ignore:.*A Box observation space m[a-z]+ value is -?infinity")  # velocities have no bound
@pytest.mark.parametrize("name", ["vl_rl/PointGather-v0", "vl_rl/SnakeGather-v0"])
def test_environment_keeps_the_rules(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = gymnasium.make(name, render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=True)
    check_for_stable_baselines3(env)
    image = env.render()
    assert (image.shape, image.dtype) == ((256, 256, 3), np.uint8)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) >= 4  # white, apples, bombs, robot
    assert list(tmp_path.iterdir()) == []  # nothing is written


@pytest.mark.parametrize(("name", "limit"), [("vl_rl/PointGather-v0", 500), ("vl_rl/SnakeGather-v0", 2000)])
def test_time_limit(name, limit):
    assert gymnasium.spec(name).max_episode_steps == limit


def test_objects_lie_on_all_even_cells_but_the_center_and_none_twice():
    env, seen = PointGather(), set()
    for seed in range(30):
        env.reset(seed=seed)
        cells = {tuple(cell) for cell in env.objects}
        assert len(cells) == 16
        seen |= cells
    grid = range(-6, 7, 2)  # the official code leaves out 6
    assert seen == {(x, y) for x in grid for y in grid} - {(0, 0)}


@each_robot
def test_an_apple_pays_one_a_bomb_costs_one_and_each_is_gone_then(kind):
    env = kind()
    env.reset(seed=0)
    env.objects, env.worth = np.array([[3.0, 0], [-3.0, 0], [0, 5.0]]), np.array([1.0, -1.0, 1.0])
    rewards = []
    for position in ((2.5, 0.0), (2.5, 0.0), (-3.0, 0.9), (0.0, 3.9), (0.0, 4.1)):
        put(env, position)
        _, reward, terminated, truncated, info = env.step(still(env))
        rewards.append((reward, terminated, info["apples"], info["bombs"]))
        assert not truncated
    nothing = (0, False, 0, 0)
    assert rewards == [(1, False, 1, 0), nothing, (-1, False, 0, 1), nothing, (1, True, 1, 0)]


def by_loop(env):
    """The readings, one object after the other."""
    found = np.zeros((2, 10))
    x, y, heading = env.data.qpos[:3]
    for (left, up), worth in zip(env.objects, env.worth, strict=True):
        distance = np.hypot(left - x, up - y)
        relative = np.arctan2(up - y, left - x) - heading
        turned = (relative + np.pi) % (2 * np.pi)
        row, column = int(worth < 0), int(turned // (2 * np.pi / 10)) % 10
        if distance < 6:
            found[row, column] = max(found[row, column], 1 - distance / 6)
    return found


@each_robot
def test_sensors_read_the_nearest_object_of_each_direction(kind):
    env, rng = kind(), np.random.default_rng(0)
    for seed in range(20):
        env.reset(seed=seed)
        put(env, rng.uniform(-6, 6, 2), rng.uniform(-9, 9))
        observation = env._observation()
        np.testing.assert_allclose(observation[env.robot_size :].reshape(2, 10), by_loop(env), atol=1e-6)


def test_a_skill_sees_the_same_whichever_way_the_robot_faces():
    seen = []
    for heading in (0.0, 2.0):
        env = PointGather()
        env.reset(seed=0)
        env.objects, env.worth = np.zeros((0, 2)) + 6, np.ones(0)
        env.objects, env.worth = np.array([[6.0, 6.0]]), np.ones(1)
        put(env, (0, 0), heading)
        for _ in range(5):
            observation, *_ = env.step(np.array([1.0, 0.0], np.float32))
        seen.append(observation[2 : env.robot_size])
    np.testing.assert_allclose(*seen, atol=1e-5)
    assert seen[0][0] > 1  # it drives along its heading


def test_the_point_stops_at_the_wall():
    env = PointGather()
    env.reset(seed=0)
    put(env, (5.0, 1.0))
    for _ in range(60):
        env.step(np.array([1.0, 0.0], np.float32))
    assert 6 < env.data.qpos[0] < 7


def test_the_snake_swims_by_a_wave_along_its_body():
    env = SnakeGather()
    env.reset(seed=0)
    put(env, (0, 0))
    for step in range(200):
        env.step(np.sin(2 * np.pi * step * 0.05 - 1.2 * np.arange(4)).astype(np.float32))
    assert env.data.qpos[0] > 0.5
    assert np.isfinite(env.data.qpos).all()


@each_robot
def test_one_seed_gives_one_episode(kind):
    def play():
        env = kind()
        observation, _ = env.reset(seed=3)
        rng, found = np.random.default_rng(0), [observation]
        for _ in range(30):
            found.append(env.step(rng.uniform(-1, 1, env.action_space.shape))[0])
        return np.array(found)

    np.testing.assert_array_equal(play(), play())


def test_an_unknown_render_mode_is_refused():
    with pytest.raises(ValueError, match=r"^render_mode must be None or 'rgb_array', got 'human'"):
        PointGather(render_mode="human")
    assert issubclass(PointGather, GatherEnv)
