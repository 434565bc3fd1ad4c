"""Settings of a run become buffers and policies, and what does not go together is refused."""

from __future__ import annotations

import pytest
from vl_rl import GeneralizedHindsightReplayBuffer
from vl_rl.training.building import build, callbacks, make_environments
from vl_rl.training.settings import RunSettings


def built(**given):
    """The algorithm of a run, untrained."""
    settings = RunSettings(**{"algo": "sac", "env": "vl_rl/PointTrajectory-v0", "source": "x.yml", **given})
    env = make_environments(settings)
    try:
        return build(settings, env)
    finally:
        env.close()


def test_an_environment_of_many_tasks_has_a_buffer_that_waits_for_an_episode():
    model = built(relabel="air", hyperparameters={"n_envs": 8, "gamma": 0.9})
    assert isinstance(model.replay_buffer, GeneralizedHindsightReplayBuffer)
    assert (model.replay_buffer.strategy, model.replay_buffer.gamma, model.learning_starts) == ("air", 0.9, 120)
    assert len(callbacks(model)) == 1
    assert built(hyperparameters={"learning_starts": 20}).learning_starts == 20


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"relabel": "none", "hyperparameters": {"replay_buffer_kwargs": "dict(strategy='random')"}},
            "relabel must be left out where x.yml has a strategy in replay_buffer_kwargs, got none",
        ),
        (
            {
                "relabel": "air",
                "hyperparameters": {"replay_buffer_class": "stable_baselines3.common.buffers.DictReplayBuffer"},
            },
            "relabel needs a GeneralizedHindsightReplayBuffer, got air with replay_buffer_class DictReplayBuffer in x",
        ),
        ({"relabel": "air", "env": "Pendulum-v1"}, "relabel must be left out for Pendulum-v1"),
        ({"relabel": "air", "algo": "ppo"}, "relabel needs an algorithm with a replay buffer, such as sac, got air"),
        ({"hyperparameters": {"policy_kwargs": "dict(sgma=1)"}}, "x.yml: sac does not take its .*'sgma'"),
    ],
)
def test_what_does_not_go_together_is_named(given, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        built(**given)
