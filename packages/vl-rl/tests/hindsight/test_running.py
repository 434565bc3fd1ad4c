"""Relabeling with the algorithms of stable-baselines3: they run, save, load, and repeat themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import TQC
from stable_baselines3 import DDPG, DQN, SAC, TD3
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv
from vl_rl.envs.point_trajectory import PointTrajectory
from vl_rl.hindsight.callback import HindsightCallback
from vl_rl.hindsight.policy import TaskExtractor, value_function
from vl_rl.hindsight.replay_buffer import GeneralizedHindsightReplayBuffer
from vl_rl.hindsight.strategies import STRATEGIES

from .families import Line


def small(algorithm: Any = SAC, env: Any = None, **options: Any) -> Any:
    """A small model whose buffer relabels."""
    relabeling = {"strategy": "air", "n_candidates": 10, "gamma": 0.9, **options.pop("relabeling", {})}
    return algorithm(
        "MultiInputPolicy",
        PointTrajectory() if env is None else env,
        **{
            "learning_starts": 40,
            "batch_size": 16,
            "buffer_size": 500,
            "gamma": 0.9,
            "seed": 0,
            "device": "cpu",
            "replay_buffer_class": GeneralizedHindsightReplayBuffer,
            "replay_buffer_kwargs": relabeling,
            "policy_kwargs": {"net_arch": [8], "features_extractor_class": TaskExtractor},
            **options,
        },
    )


def discrete_line() -> Line:
    return Line(discrete=True)


@pytest.mark.parametrize("algorithm", [SAC, TD3, DDPG, DQN, TQC])
@pytest.mark.parametrize("strategy", ["advantage", "air"])
def test_every_algorithm_trains_and_values_are_the_critics_smallest(algorithm: Any, strategy: str) -> None:
    env = discrete_line() if algorithm is DQN else None
    model = small(algorithm, env, relabeling={"strategy": strategy, "ties": "advantage", "n_relabels": 2})
    model.learn(90, callback=HindsightCallback())
    assert model.replay_buffer.statistics()["episodes"] >= 6
    space = model.observation_space
    tasks = model.env.get_attr("task_family")[0].evaluation_tasks()[:4]
    observations = np.stack([space["observation"].sample() for _ in tasks])
    batch = {"observation": observations, "achieved_goal": np.zeros((4, *space["achieved_goal"].shape)),
             "desired_goal": tasks}  # fmt: skip
    inputs, _ = model.policy.obs_to_tensor(batch)
    with torch.no_grad():
        if algorithm is DQN:
            expected = model.q_net(inputs).max(1).values
        else:
            actions = torch.as_tensor(model.policy.scale_action(model.predict(batch, deterministic=True)[0]))
            q = model.critic(inputs, actions)
            # TQC has quantiles of each critic, (4, critics, quantiles); the others a tuple of (4, 1).
            expected = (q.mean(2) if algorithm is TQC else torch.cat(q, 1)).amin(1)
    np.testing.assert_allclose(value_function(model)(observations, tasks), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_trains_on_several_environments(strategy: str) -> None:
    model = small(
        env=DummyVecEnv([PointTrajectory] * 3), relabeling={"strategy": strategy, "n_relabels": 2}, learning_starts=60
    )
    model.learn(150, callback=HindsightCallback())
    assert np.isfinite(model.replay_buffer._rewards).all()


@pytest.mark.slow
def test_environments_in_other_processes_give_the_same_training() -> None:
    found = []
    for kind in (DummyVecEnv, SubprocVecEnv):
        env = kind([PointTrajectory] * 2)
        model = small(env=env)
        model.learn(120, callback=HindsightCallback())
        found.append(model.policy.state_dict())
        env.close()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_one_seed_gives_one_training() -> None:
    first, second = (small(seed=7).learn(90, callback=HindsightCallback()) for _ in range(2))
    for name, value in first.policy.state_dict().items():
        assert torch.equal(value, second.policy.state_dict()[name])
    np.testing.assert_array_equal(first.replay_buffer._tasks, second.replay_buffer._tasks)


@pytest.mark.parametrize("algorithm", [SAC, TD3])
def test_changing_achieved_goal_never_changes_an_action(algorithm: Any) -> None:
    model = small(algorithm)
    model.learn(60, callback=HindsightCallback())
    observation, _ = PointTrajectory().reset(seed=0)
    expected, _ = model.predict(observation, deterministic=True)
    for value in (-1.0, 0.3, 1.0):
        observation["achieved_goal"] = np.full(2, value, dtype=np.float32)
        np.testing.assert_array_equal(model.predict(observation, deterministic=True)[0], expected)


def test_without_the_callback_one_warning_says_what_nobody_checks() -> None:
    with pytest.warns(UserWarning, match="no agent is attached to the replay buffer") as caught:
        small().learn(60)
    assert len(caught) == 1


def test_one_line_loads_a_model_for_predict_without_an_environment(tmp_path: Path) -> None:
    model = small()
    model.learn(60, callback=HindsightCallback())
    model.save(tmp_path / "model")
    loaded = SAC.load(tmp_path / "model", replay_buffer_class=None, replay_buffer_kwargs={}, buffer_size=1)
    observation, _ = PointTrajectory().reset(seed=0)
    for deterministic in (True, False):
        torch.manual_seed(1)
        expected, _ = model.predict(observation, deterministic=deterministic)
        torch.manual_seed(1)
        np.testing.assert_array_equal(loaded.predict(observation, deterministic=deterministic)[0], expected)


def test_a_saved_model_with_its_buffer_trains_on(tmp_path: Path) -> None:
    model = small(relabeling={"strategy": "advantage"})
    model.learn(60, callback=HindsightCallback())
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = SAC.load(tmp_path / "model", env=PointTrajectory())
    loaded.load_replay_buffer(tmp_path / "buffer")
    np.testing.assert_array_equal(loaded.replay_buffer._tasks, model.replay_buffer._tasks)
    loaded.learn(60, callback=HindsightCallback(), reset_num_timesteps=False)
    assert loaded.replay_buffer.statistics()["episodes"] == 8


def test_the_log_has_every_metric_of_the_page() -> None:
    class Names(KVWriter):
        found: set[str] = set()  # noqa: RUF012

        def write(self, key_values: dict[str, Any], key_excluded: Any, step: int = 0) -> None:
            self.found |= {name for name in key_values if name.startswith("hindsight/")}

    model = small()
    model.set_logger(Logger(None, [Names()]))
    model.learn(90, callback=HindsightCallback(), log_interval=1)
    assert Names.found == {f"hindsight/{name}" for name in ("episodes", "return_own", "return_relabeled", "kept")}
    page = Path(__file__).parents[2] / "docs" / "generalized-hindsight.md"
    assert all(f"`{name}`" in page.read_text(encoding="utf-8") for name in Names.found)
