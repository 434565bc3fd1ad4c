"""Bad input gives one line that names the argument, what came, and what to do; what is stored stays."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers import TransformReward
from stable_baselines3 import PPO, SAC
from vl_rl.envs.point_trajectory import PointTrajectory
from vl_rl.hindsight.callback import HindsightCallback
from vl_rl.hindsight.policy import TaskExtractor
from vl_rl.hindsight.tasks import Transitions

from .families import Line, Targets
from .test_replay_buffer import Recorder
from .test_running import small

# Buffers by themselves, without an agent.
pytestmark = pytest.mark.filterwarnings("ignore:no agent is attached to the replay buffer:UserWarning")


def broken(**methods: Any) -> Any:
    """A family with other methods."""
    return type("Broken", (Targets,), methods)()


def reset_for(task: Any) -> None:
    Line().reset(options={"task": task})


def play(family: Any, strategy: str = "random") -> None:
    Recorder([lambda: Line(family, horizon=3)], strategy=strategy).play(3)


def attached(**options: Any) -> None:
    small(**options).learn(1, callback=HindsightCallback())


REFUSALS = {
    "unknown strategy": (lambda: Recorder([Line], strategy="best"), ValueError, "strategy must be one of none, random"),
    "no labels": (lambda: Recorder([Line], n_relabels=0), ValueError, "n_relabels must lie between 1 and"),
    "more labels than candidates": (
        lambda: Recorder([Line], n_relabels=5, n_candidates=4), ValueError, "n_candidates = 4, got 5"
    ),
    "discount": (lambda: Recorder([Line], gamma=1.5), ValueError, "gamma must lie between 0 and 1, got 1.5"),
    "fraction": (lambda: Recorder([Line], relabel_fraction=2), ValueError, "relabel_fraction must lie"),
    "cache": (lambda: Recorder([Line], n_cached=-1), ValueError, "n_cached must not be negative, got -1"),
    "ties": (lambda: Recorder([Line], ties="coin"), ValueError, "ties must be 'return' or 'advantage'"),
    "no family": (lambda: small(env="Pendulum-v1"), (ValueError, AssertionError), "task_family|Dict"),
    "small buffer": (lambda: Recorder([PointTrajectory], size=10).play(15), ValueError, "buffer_size must exceed"),
    "task outside": (lambda: reset_for([99.0]), ValueError, r"task space .*got \[99.0\] at index 0"),
    "task is NaN": (lambda: reset_for([np.nan]), ValueError, "task space"),
    "task of another shape": (lambda: reset_for([1.0, 2.0]), ValueError, r"one task of shape \(1,\), got shape \(2,\)"),
    "sampled task outside": (
        lambda: Line(broken(sample_tasks=lambda self, count, rng: np.full((count, 1), 50.0))).reset(),
        ValueError, "task space",
    ),
    "evaluation task outside": (
        lambda: Line(broken(evaluation_tasks=lambda self: np.full((1, 1), 50.0))),
        ValueError, "evaluation_tasks must lie",
    ),
    "chosen task outside": (
        lambda: play(broken(achieved_tasks=lambda self, t, z: t.features + 50), "her_final"),
        ValueError, "strategy's tasks must lie",
    ),
    "strategy of one task": (
        lambda: Recorder([PointTrajectory], strategy=lambda hindsight: hindsight.task).play(15),
        ValueError, r"strategy must return tasks of shape \(k, 3\) or \(k, 15, 3\) with k at least 1, got \(3,\)",
    ),
    "strategy without tasks": (
        lambda: Recorder([PointTrajectory], strategy=lambda hindsight: hindsight.task[None][:0]).play(15),
        ValueError, r"strategy must return tasks .* got \(0, 3\)",
    ),
    "function that cannot be saved": (
        lambda: pickle.dumps(Recorder([PointTrajectory], strategy=lambda hindsight: hindsight.draw(1)).buffer),
        ValueError, "strategy must be a function at the top of a module for the buffer to be saved, got .*lambda",
    ),
    "wrapper that changes rewards": (
        lambda: Recorder([lambda: TransformReward(PointTrajectory(), lambda reward: 0.1 * reward)]).play(15),
        ValueError, "rewards of the environment must be those of its task_family, got a mean difference of",
    ),
    "reward of one number": (
        lambda: play(broken(reward=lambda self, t, z: 1.0 if t.features.ndim == 1 else np.ones(len(t.features)).sum())),
        ValueError, r"Broken.reward must return an array of shape \(3,\) .*got \(\)",
    ),
    "reward with one dimension too many": (
        lambda: play(broken(reward=lambda self, t, z: t.features * z)), ValueError, r"shape \(\) .*got \(1,\)"
    ),
    "reward is NaN": (
        lambda: play(broken(reward=lambda self, t, z: t.features[..., 0] * np.nan * z[..., 0])),
        ValueError, r"Broken.reward must be finite, got nan for the task \[",
    ),
    "terminated of another shape": (
        lambda: play(
            broken(terminated=lambda self, t, z: np.zeros((7,), bool), reward=lambda self, t, z: t.features[..., 0])
        ),
        ValueError, "Broken.terminated must return",
    ),
    "horizon": (lambda: Line(horizon=0), ValueError, "horizon must be a positive number"),
    "render mode": (lambda: PointTrajectory(render_mode="human"), ValueError, "render_mode must be one of"),
    "advantage without an agent": (
        lambda: Recorder([PointTrajectory], strategy="advantage").play(15), RuntimeError, "HindsightCallback"
    ),
    "another discount": (lambda: attached(relabeling={"gamma": 0.5}), ValueError, "got 0.5 and 0.9"),
    "policy that reads achieved_goal": (
        lambda: attached(policy_kwargs={"net_arch": [8]}), ValueError, "TaskExtractor"
    ),
    "callback without the buffer": (
        lambda: PPO("MultiInputPolicy", PointTrajectory(), n_steps=16, batch_size=16, device="cpu").learn(
            1, callback=HindsightCallback()
        ),
        TypeError, "replay_buffer_class=GeneralizedHindsightReplayBuffer",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("action", "error", "message"), REFUSALS.values(), ids=REFUSALS)
def test_bad_input_is_refused_in_one_line(action: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        action()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["reward", "observation"])
def test_what_is_not_finite_is_refused_before_it_is_stored(where: str) -> None:
    recorder = Recorder([PointTrajectory] * 2, strategy="random")
    recorder.play(20)
    buffer = recorder.buffer
    position, after = buffer.pos, {key: value.copy() for key, value in recorder.observations.items()}
    rewards = np.zeros(2)
    (rewards if where == "reward" else after["observation"])[1] = np.nan
    with pytest.raises(ValueError, match=f"{where} of environment 1 must be finite, got .*nan"):
        buffer.add(recorder.observations, after, np.zeros((2, 2)), rewards, np.zeros(2), [{}, {}])
    assert buffer.pos == position
    recorder.play(20)
    assert np.isfinite(buffer.sample(50).rewards.numpy()).all()


def test_a_refused_set_of_tasks_leaves_the_earlier_one() -> None:
    env = Line()
    env.set_tasks([[3.0], [2.0]])
    with pytest.raises(ValueError, match="at index 1"):
        env.set_tasks([[1.0], [99.0]])
    assert [env.reset()[0]["desired_goal"].item() for _ in range(2)] == [3.0, 2.0]


def test_a_buffer_for_other_environments_is_refused() -> None:
    recorder = Recorder([Line], strategy="random")
    state = recorder.buffer.__getstate__()
    loaded = object.__new__(type(recorder.buffer))
    loaded.__setstate__(state)
    with pytest.raises(ValueError, match="must have 1 environments like the saved buffer, got 2"):
        loaded.set_env(Recorder([Line] * 2).venv)


def test_a_model_that_was_refused_goes_on_with_the_right_buffer() -> None:
    model = small(policy_kwargs={"net_arch": [8], "features_extractor_class": TaskExtractor})
    assert isinstance(model, SAC)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.replay_buffer.gamma = 0.1
    with pytest.raises(ValueError, match="gamma"):
        model.learn(50, callback=HindsightCallback())
    assert all((value == before[name]).all() for name, value in model.policy.state_dict().items())
    model.replay_buffer.gamma = 0.9
    model.learn(60, callback=HindsightCallback())


def test_transitions_are_wide_and_indexed_alike() -> None:
    found = Transitions(*(np.arange(6, dtype=np.float32).reshape(3, 2) for _ in range(4)))
    assert found.features.dtype == np.float64
    assert found[1:, None].action.shape == (2, 1, 2)
