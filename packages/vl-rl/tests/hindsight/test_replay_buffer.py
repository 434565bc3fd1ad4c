"""The buffer: what it stores for each label, when, and what of it survives."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from vl_rl.envs.point_trajectory import PointTrajectory
from vl_rl.hindsight.replay_buffer import GeneralizedHindsightReplayBuffer
from vl_rl.hindsight.returns import Paths, discounted_returns
from vl_rl.hindsight.strategies import STRATEGIES, Hindsight
from vl_rl.hindsight.tasks import Transitions, checked_rewards

from .families import Line, Targets

# Buffers by themselves, without an agent.
pytestmark = pytest.mark.filterwarnings("ignore:no agent is attached to the replay buffer:UserWarning")


class Recorder:
    """Random actions in a VecEnv, stored as stable-baselines3 stores them."""

    def __init__(self, envs: list[Any], size: int = 400, **options: Any):
        self.venv = DummyVecEnv(envs)
        self.venv.seed(3)
        self.observations: Any = self.venv.reset()
        self.buffer = GeneralizedHindsightReplayBuffer(
            size,
            self.venv.observation_space,  # type: ignore[arg-type]
            self.venv.action_space,
            self.venv,
            device="cpu",
            n_envs=self.venv.num_envs,
            **{"seed": 0, "gamma": 0.9, "n_candidates": 20, **options},
        )
        self.rng = np.random.default_rng(0)

    def play(self, steps: int, actions: Any = None) -> None:
        """Random actions, or the given ones, for all environments."""
        space: Any = self.venv.action_space
        for step in range(steps):
            scaled = self.rng.uniform(-1, 1, (self.venv.num_envs, 1, 2)[:: 2 if space.shape == (2,) else 1][:2])
            if actions is not None:
                scaled = np.full((self.venv.num_envs, 1), actions[step])
            scaled = scaled.astype(np.float32)
            played = space.low + (0.5 * (scaled + 1.0) * (space.high - space.low))
            after, rewards, dones, infos = self.venv.step(played)
            stored = {key: value.copy() for key, value in after.items()}
            for i in np.flatnonzero(dones):
                for key in stored:
                    stored[key][i] = infos[i]["terminal_observation"][key]
            self.buffer.add(self.observations, stored, scaled, rewards, dones, infos)
            self.observations = after


def every_label(buffer: GeneralizedHindsightReplayBuffer, label: int) -> Any:
    """All transitions that may be sampled, with one label."""
    rows, envs = np.nonzero(buffer.ep_length > 0)
    return buffer._labeled(rows, envs, np.full(len(rows), label), None)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in ("none", "advantage")])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_each_label_has_its_task_and_the_rewards_of_that_task(strategy: str, n_envs: int) -> None:
    recorder = Recorder([PointTrajectory] * n_envs, strategy=strategy, n_relabels=3)
    recorder.play(60)
    own = every_label(recorder.buffer, 0)
    for label in range(4):
        batch = every_label(recorder.buffer, label)
        tasks = batch.observations["desired_goal"].numpy()
        np.testing.assert_array_equal(tasks, batch.next_observations["desired_goal"].numpy())
        before, after = batch.observations, batch.next_observations
        transitions = Transitions(
            before["observation"].numpy(), batch.actions.numpy(), after["observation"].numpy(),
            after["achieved_goal"].numpy(),
        )  # fmt: skip
        expected = checked_rewards(PointTrajectory().task_family, transitions, tasks)
        np.testing.assert_allclose(batch.rewards[:, 0].numpy(), expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(before["observation"].numpy(), own.observations["observation"].numpy())
        assert not batch.dones.any()  # all episodes are truncated, and bootstrap
    assert len(own.rewards) == 60 * n_envs


def test_none_stores_no_label_and_samples_own_tasks() -> None:
    recorder = Recorder([PointTrajectory], strategy="none")
    recorder.play(45)
    tasks = recorder.buffer.sample(200).observations["desired_goal"].numpy()
    stored = recorder.buffer.observations["desired_goal"][:45, 0]
    assert {tuple(task) for task in tasks} == {tuple(task) for task in stored}
    assert recorder.buffer._rewards.size == 0


def test_relabeling_waits_for_a_complete_episode() -> None:
    calls: list[int] = []

    def strategy(hindsight: Hindsight) -> np.ndarray:
        calls.append(len(hindsight.path.features))
        return hindsight.draw(1)

    recorder = Recorder([PointTrajectory], strategy=strategy)
    recorder.play(14)
    assert calls == []
    with pytest.raises(RuntimeError, match="learning_starts"):
        recorder.buffer.sample(4)
    recorder.play(1)
    assert calls == [15]
    recorder.play(10)
    assert len(recorder.buffer.sample(4).rewards) == 4
    assert calls == [15]
    with pytest.warns(UserWarning, match="truncated"):
        recorder.buffer.truncate_last_trajectory()
    assert calls == [15, 10]


def test_air_compares_with_the_cached_paths_that_are_still_in_the_buffer() -> None:
    seen: list[Paths | None] = []

    def strategy(hindsight: Hindsight) -> np.ndarray:
        seen.append(hindsight.earlier())
        return hindsight.draw(1)

    recorder = Recorder([PointTrajectory] * 2, size=2 * 100, strategy=strategy, n_cached=9)
    recorder.play(100 + 15 * 5)  # the last episode ends 75 rows after the buffer was full
    lengths = [0 if paths is None else len(paths.lengths) for paths in seen]
    # Two paths end together; a hundred rows hold at most ten others, of which the cache keeps nine.
    assert lengths == [min(i, 9) if i < 13 else lengths[i] for i in range(22)]
    assert all(9 <= length <= 11 for length in lengths[9:])
    last = seen[-1]
    assert last is not None
    assert (last.lengths == 15).all()
    family = PointTrajectory().task_family
    tasks = family.evaluation_tasks()
    # The cached rows are the very paths: each has the reward that was stored with it.
    own = discounted_returns(family, last, tasks, 0.9)
    assert own.shape == (len(last.lengths), 25)
    steps = last.transitions.observation[:, 2].reshape(-1, 15)
    np.testing.assert_allclose(steps, np.tile(np.arange(15) / 15, (len(steps), 1)), atol=1e-6)


def test_air_forgets_overwritten_paths_also_where_a_short_one_ended_before_a_long_one() -> None:
    seen: list[Paths | None] = []

    def strategy(hindsight: Hindsight) -> np.ndarray:
        seen.append(hindsight.earlier())
        return hindsight.draw(1)

    horizons = [lambda: PointTrajectory(horizon=30), lambda: PointTrajectory(horizon=5)]
    Recorder(horizons, size=2 * 60, strategy=strategy).play(200)
    for paths in seen[-20:]:
        assert paths is not None
        starts = np.cumsum(paths.lengths) - paths.lengths
        steps = np.arange(paths.lengths.sum()) - np.repeat(starts, paths.lengths)
        # The observation holds the share of the horizon that has passed.
        np.testing.assert_allclose(
            paths.transitions.observation[:, 2], steps / np.repeat(paths.lengths, paths.lengths), atol=1e-6
        )


def test_a_relabeled_success_ends_and_the_old_one_no_longer_does() -> None:
    """A walk 1, 2, 3 that ends at its task, 3; relabeled for 1 it ends at the first step, for 9 nowhere."""
    tasks = np.array([[1.0], [9.0]], dtype=np.float32)
    recorder = Recorder([Line], strategy=lambda _: tasks, n_relabels=2)
    recorder.venv.env_method("set_tasks", [[3.0]])
    recorder.observations = recorder.venv.reset()
    recorder.play(3, actions=[0.5, 0.5, 0.5])
    found = [every_label(recorder.buffer, label) for label in range(3)]
    assert [batch.dones[:, 0].tolist() for batch in found] == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert [batch.rewards[:, 0].tolist() for batch in found] == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_a_truncated_success_is_an_end_only_for_the_task_that_it_solves() -> None:
    recorder = Recorder([lambda: Line(horizon=2)], strategy=lambda _: np.array([[2.0]]))
    recorder.venv.env_method("set_tasks", [[4.0]])
    recorder.observations = recorder.venv.reset()
    recorder.play(2, actions=[0.5, 0.5])
    assert every_label(recorder.buffer, 0).dones[:, 0].tolist() == [0, 0]
    assert every_label(recorder.buffer, 1).dones[:, 0].tolist() == [0, 1]


def test_a_fall_ends_the_episode_for_every_task() -> None:
    class Cliff(Line):
        def advance(self, action: Any) -> Any:
            outcome = super().advance(action)
            return outcome._replace(terminated=bool(self.position[0] > 1.5))

    recorder = Recorder([Cliff], strategy=lambda _: np.array([[-3.0]]))
    recorder.venv.env_method("set_tasks", [[4.0]])
    recorder.observations = recorder.venv.reset()
    recorder.play(2, actions=[0.5, 0.5])
    assert every_label(recorder.buffer, 1).dones[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize(("fraction", "expected"), [(None, 0.75), (0.0, 0.0), (0.2, 0.2), (1.0, 1.0)])
def test_a_batch_has_the_wanted_share_of_new_labels(fraction: float | None, expected: float) -> None:
    marks = np.array([[7.0], [8.0], [9.0]], dtype=np.float32)
    recorder = Recorder([Line], strategy=lambda _: marks, n_relabels=3, relabel_fraction=fraction)
    recorder.play(40)
    tasks = recorder.buffer.sample(4000).observations["desired_goal"][:, 0].numpy()
    assert abs((tasks > 6).mean() - expected) < 0.03
    if expected == 1.0:
        assert {7.0, 8.0, 9.0} == set(tasks)
        assert abs((tasks == 8).mean() - 1 / 3) < 0.03


def test_a_full_buffer_samples_whole_episodes_only() -> None:
    recorder = Recorder([PointTrajectory], size=50, strategy="random")
    recorder.play(15 * 7 + 6)
    # Rows of the last 50: six of an incomplete episode, 14 of one that has lost its beginning, and two whole ones.
    times = every_label(recorder.buffer, 0).observations["observation"][:, 2].numpy()
    np.testing.assert_allclose(np.sort(times), np.repeat(np.arange(15) / 15, 2), atol=1e-6)


def test_a_pickled_buffer_goes_on_as_if_nothing_had_happened() -> None:
    first = Recorder([PointTrajectory] * 2, strategy="air")
    first.play(40)
    second = Recorder([PointTrajectory] * 2, strategy="air")
    second.play(40)
    loaded = pickle.loads(pickle.dumps(second.buffer))
    loaded.set_env(second.venv)
    second.buffer = loaded
    for recorder in (first, second):
        recorder.play(50)
    for name in ("_tasks", "_rewards", "rewards"):
        np.testing.assert_array_equal(getattr(first.buffer, name), getattr(second.buffer, name))
    assert (first.buffer.sample(32).rewards == second.buffer.sample(32).rewards).all()


def test_samples_are_normalized_as_vec_normalize_does() -> None:
    recorder = Recorder([PointTrajectory], strategy="random", relabel_fraction=1.0)
    recorder.play(60)
    normalization = VecNormalize(recorder.venv, clip_obs=100.0)
    normalization.obs_rms["desired_goal"].mean[:] = 2.0
    normalization.ret_rms.var = np.array(4.0)
    state = recorder.buffer._rng.bit_generator.state
    plain = recorder.buffer.sample(16)
    recorder.buffer._rng.bit_generator.state = state
    scaled = recorder.buffer.sample(16, normalization)
    np.testing.assert_allclose(scaled.observations["desired_goal"], plain.observations["desired_goal"] - 2, atol=1e-4)
    np.testing.assert_allclose(scaled.rewards, plain.rewards / 2, rtol=1e-4)


def test_the_environment_and_the_agent_are_not_saved() -> None:
    recorder = Recorder([lambda: Line(Targets())], strategy="random")
    recorder.play(10)
    loaded = pickle.loads(pickle.dumps(recorder.buffer))
    assert (loaded.env, loaded._family, loaded._value) == (None, None, None)
