"""An interrupted run that is started again ends like one that was not interrupted."""

import json

import pytest
import torch
from stable_baselines3.common.save_util import load_from_zip_file
from vl_rl.training.run import train_run
from vl_rl.training.settings import RunSettings

SMALL_OFF = {"policy_kwargs": {"net_arch": [16]}, "batch_size": 16, "learning_starts": 30, "buffer_size": 1000}
SMALL_ON = {"policy_kwargs": {"net_arch": [16]}, "n_steps": 32, "batch_size": 32}
RUNS = {
    "sac": RunSettings(algo="sac", env="Pendulum-v1", hyperparameters=SMALL_OFF),
    "td3 with noise, two environments": RunSettings(
        algo="td3",
        env="Pendulum-v1",
        hyperparameters={**SMALL_OFF, "n_envs": 2, "train_freq": 5, "noise_type": "normal"},
    ),
    "dqn": RunSettings(algo="dqn", env="CartPole-v1", hyperparameters=SMALL_OFF),
    "ppo, normalized": RunSettings(
        algo="ppo", env="CartPole-v1", hyperparameters={**SMALL_ON, "n_envs": 2, "normalize": True}
    ),
}
STEPS = {"total_timesteps": 330, "eval_every": 100, "eval_episodes": 1, "checkpoint_every": 70}


def settings_of(name):
    """One of the runs, at the size of the tests."""
    return RunSettings(**{**vars(RUNS[name]), **STEPS, "seed": 3})


def outcome(folder):
    """Metrics, and parameters with the states of the optimizers."""
    _, parameters, variables = load_from_zip_file(folder / "model.zip")
    return (folder / "metrics.jsonl").read_text().splitlines(), {"parameters": parameters, "variables": variables}


def assert_equal(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_stops_anywhere_ends_like_one_that_does_not(name, tmp_path):
    settings = settings_of(name)
    train_run(settings, tmp_path / "whole")

    class Stop(Exception):
        pass

    taken = 0

    def stop(steps):
        nonlocal taken
        taken += steps
        if taken >= 250:
            raise Stop

    with pytest.raises(Stop):
        train_run(settings, tmp_path / "parts", progress=stop)
    assert (tmp_path / "parts" / "checkpoint" / "last.pkl").exists()
    result = train_run(settings, tmp_path / "parts")
    assert result["returns"] == json.loads((tmp_path / "whole" / "result.json").read_text())["returns"]
    assert_equal(outcome(tmp_path / "whole"), outcome(tmp_path / "parts"))
    assert not (tmp_path / "parts" / "checkpoint").exists()
