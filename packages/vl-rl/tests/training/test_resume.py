"""An interrupted run that is started again ends like one that was not interrupted."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.save_util import load_from_zip_file
from vl_rl.training.run import train_run
from vl_rl.training.settings import RunSettings

SMALL_OFF = {"policy_kwargs": {"net_arch": [16]}, "batch_size": 16, "learning_starts": 30, "buffer_size": 1000}
SMALL_ON = {"policy_kwargs": {"net_arch": [16]}, "n_steps": 32, "batch_size": 32}
SMALL_HIPPO = {"num_latents": 2, "commitment": [2, 5], "n_steps": 32, "batch_size": 32, "n_envs": 2}
NOISE = {"n_envs": 2, "train_freq": 5, "noise_type": "normal"}
RUNS = {
    "td3": RunSettings(algo="td3", env="Pendulum-v1", hyperparameters={**SMALL_OFF, **NOISE}),
    "dqn": RunSettings(algo="dqn", env="CartPole-v1", hyperparameters=SMALL_OFF),
    "ppo": RunSettings(algo="ppo", env="CartPole-v1", hyperparameters={**SMALL_ON, "n_envs": 2, "normalize": True}),
    "fourier": RunSettings(algo="fourier-sac", env="Pendulum-v1", hyperparameters=SMALL_OFF),
    "hindsight": RunSettings(
        algo="sac", env="vl_rl/PointTrajectory-v0", relabel="air", hyperparameters={**SMALL_OFF, "n_envs": 2}
    ),
    "hippo": RunSettings(algo="hippo", env="Pendulum-v1", hyperparameters=SMALL_HIPPO),
}
IMAGES = {"n_steps": 30, "batch_size": 30, "n_epochs": 1, "frame_stack": 2, "policy_kwargs": {"net_arch": [16]}}
RUNS |= {
    "images": RunSettings(algo="fourier-ppo", env="Spot-v0", hyperparameters=IMAGES),
    "drifting noise": RunSettings(
        algo="td3", env="Pendulum-v1", hyperparameters={**SMALL_OFF, **NOISE, "noise_type": "ornstein-uhlenbeck"}
    ),
}
METHODS = ("fourier", "hindsight", "hippo")
STEPS = {"total_timesteps": 330, "eval_every": 100, "eval_episodes": 1, "checkpoint_every": 70}


def settings_of(name):
    """One of the runs, at the size of the tests."""
    return RunSettings(**{**vars(RUNS[name]), **STEPS, "seed": 3})


class Spot(gymnasium.Env):
    """An image of 36 by 36 pixels with a spot that wanders; actions move it, too."""

    observation_space = spaces.Box(0, 255, (36, 36, 1), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.left = int(self.np_random.integers(36)), 50
        return self.image(), {}

    def step(self, action):
        self.place = (self.place + int(action) - 1 + int(self.np_random.integers(-1, 2))) % 36
        self.left -= 1
        return self.image(), -abs(self.place - 18) / 18, False, self.left == 0, {}

    def image(self):
        image = np.zeros((36, 36, 1), np.uint8)
        image[:, self.place] = 255
        return image


gymnasium.register("Spot-v0", Spot)


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


class Stop(Exception):
    """Stands for anything that ends a process."""


def stop_after(steps):
    """A callback that raises once so many steps have been taken."""
    taken = 0

    def stop(number):
        nonlocal taken
        taken += number
        if taken >= steps:
            raise Stop

    return stop


@pytest.mark.parametrize(
    "name", ["dqn", "ppo", "images", "drifting noise", pytest.param("td3", marks=pytest.mark.slow)]
)
def test_a_run_that_stops_anywhere_ends_like_one_that_does_not(name, tmp_path):
    settings = settings_of(name)
    train_run(settings, tmp_path / "whole")
    with pytest.raises(Stop):
        train_run(settings, tmp_path / "parts", progress=stop_after(250))
    assert (tmp_path / "parts" / "checkpoint" / "last.pkl").exists()
    result = train_run(settings, tmp_path / "parts")
    assert result["returns"] == json.loads((tmp_path / "whole" / "result.json").read_text())["returns"]
    assert_equal(outcome(tmp_path / "whole"), outcome(tmp_path / "parts"))
    assert not (tmp_path / "parts" / "checkpoint").exists()


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_resume import settings_of
from vl_rl.training.run import train_run
from pathlib import Path

taken = 0

def stop(steps):
    global taken
    taken += steps
    if taken >= 250:
        os.kill(os.getpid(), signal.SIGKILL)

train_run(settings_of(sys.argv[2]), Path(sys.argv[3]), progress=stop)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_killed_process_is_resumed_by_another_one(name, tmp_path):
    settings = settings_of(name)
    train_run(settings, tmp_path / "whole")
    killed = [sys.executable, "-c", KILLED, str(Path(__file__).parent), name, str(tmp_path / "parts")]
    assert subprocess.run(killed, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "parts" / "checkpoint" / "last.pkl").exists()
    train_run(settings, tmp_path / "parts")
    assert_equal(outcome(tmp_path / "whole"), outcome(tmp_path / "parts"))


def test_a_damaged_checkpoint_is_refused_and_stays(tmp_path):
    with pytest.raises(Stop):
        train_run(settings_of("dqn"), tmp_path, progress=stop_after(100))
    checkpoint = tmp_path / "checkpoint" / "last.pkl"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is not a checkpoint of a run"):
        train_run(settings_of("dqn"), tmp_path)
    assert checkpoint.exists()


def test_another_configuration_is_refused(tmp_path):
    with pytest.raises(Stop):
        train_run(settings_of("dqn"), tmp_path, progress=stop_after(100))
    with pytest.raises(ValueError, match="another configuration: seed"):
        train_run(replace(settings_of("dqn"), seed=4), tmp_path)
