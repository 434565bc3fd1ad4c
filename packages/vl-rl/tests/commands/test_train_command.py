"""The commands, one after another on the same small runs."""

import csv
import json
import os
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from matplotlib.figure import Figure
from vl_core.charts import SMALL, smallest_text
from vl_core.runs import RunFolder
from vl_rl.cli import main
from vl_rl.commands.settings.train import RELABEL
from vl_rl.hindsight.strategies import STRATEGIES

SMALL_RUN = """
default:
  learning_starts: 60
  batch_size: 8
  buffer_size: 500
  policy_kwargs: "dict(net_arch=[8])"
"""


@pytest.fixture(autouse=True)
def readable(monkeypatch):
    """Require of every figure that is saved that no type is smaller than eight points at the width of a page."""
    save = Figure.savefig

    def checked(self, *args, **options):
        save(self, *args, **options)
        assert smallest_text(self) >= SMALL

    monkeypatch.setattr(Figure, "savefig", checked)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two methods with two seeds each, on CartPole."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "small.yml").write_text(SMALL_RUN)
    arguments = ["--env", "CartPole-v1", "--seeds", "0", "1", "--total-timesteps", "90", "--eval-episodes", "2"]
    arguments += ["--hyperparams", str(folder / "small.yml"), "--no-video", "--out", str(folder / "out")]
    assert main(["train", *arguments]) == 0
    return folder / "out", ["train", *arguments]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_training_writes_tables_and_rerunning_changes_nothing(trained, capsys):
    folder, command = trained
    found = rows(folder / "runs.csv")
    assert {(row["method"], row["seed"]) for row in found} == {(m, s) for m in ("fourier-dqn", "dqn") for s in "01"}
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    model = (folder / "runs/dqn/seed-0/model.zip").stat().st_mtime_ns
    assert main(command) == 0
    assert (folder / "runs/dqn/seed-0/model.zip").stat().st_mtime_ns == model
    assert rows(folder / "runs.csv") == found
    assert "fourier-dqn" in capsys.readouterr().out


def test_tables_keep_the_runs_of_earlier_commands(trained, tmp_path):
    _, command = trained
    arguments = [*command, "--seeds", "0", "--out", str(tmp_path), "--algo"]
    for algo in ("dqn", "fourier-dqn"):
        assert main([*arguments, algo]) == 0
    for table in ("runs.csv", "curves.csv"):
        assert {row["method"] for row in rows(tmp_path / table)} == {"dqn", "fourier-dqn"}


def test_a_second_command_in_one_folder_is_refused(trained, capsys):
    folder, command = trained
    run = folder / "runs" / "dqn" / "seed-0"
    with RunFolder(run, json.loads((run / "config.json").read_text())):
        assert main(command) == 2
    assert f"{run} is being written by another process; wait for it or choose another --out" in capsys.readouterr().err


def test_strategies_of_the_command_are_those_of_the_buffer():
    assert set(STRATEGIES) == set(RELABEL)


def test_evaluation_repeats_the_last_one_of_training(trained, tmp_path, capsys):
    folder, _ = trained
    assert main(["evaluate", str(folder), "--episodes", "2", "--out", str(tmp_path)]) == 0
    scores = dict(np.load(tmp_path / "scores.npz"))
    assert {name: value.shape for name, value in scores.items()} == {"fourier-dqn": (2, 1), "dqn": (2, 1)}
    assert {row["statistic"] for row in rows(tmp_path / "statistics.csv")} >= {
        "interquartile mean",
        "paired difference",
    }
    assert "better with probability" in capsys.readouterr().out
    assert main(["evaluate", str(folder), "--baseline", "sac", "--out", str(tmp_path)]) == 2
    assert "--baseline must be one of dqn; fourier-dqn, got 'sac'" in capsys.readouterr().err


def test_each_evaluation_task_is_a_column(tmp_path, capsys):
    (tmp_path / "small.yml").write_text(SMALL_RUN)
    arguments = ["--env", "vl_rl/PointTrajectory-v0", "--relabel", "air", "none"]
    arguments += ["--total-timesteps", "75", "--eval-every", "75"]
    arguments += ["--hyperparams", str(tmp_path / "small.yml"), "--no-video", "--out", str(tmp_path / "out")]
    assert main(["train", *arguments]) == 0
    assert main(["evaluate", str(tmp_path / "out"), "--out", str(tmp_path / "scores")]) == 0
    scores = dict(np.load(tmp_path / "scores/scores.npz"))
    assert {name: value.shape for name, value in scores.items()} == {"sac, air": (2, 25), "sac, none": (2, 25)}
    found = [row for row in rows(tmp_path / "scores/scores.csv") if (row["method"], row["seed"]) == ("sac, none", "1")]
    assert [row["task"] for row in found][:2] == [f"vl_rl/PointTrajectory-v0, task 00{i}" for i in range(2)]
    np.testing.assert_allclose([float(row["score"]) for row in found], scores["sac, none"][1], rtol=1e-5)
    assert "sac, air over sac, none: better with probability" in capsys.readouterr().out


def test_any_metric_is_drawn_and_a_wrong_one_lists_them(trained, tmp_path, capsys):
    folder, _ = trained
    assert main(["plot", str(folder), "--metric", "eval/iqm", "--out", str(tmp_path)]) == 0
    assert {"method", "seed", "step", "eval/iqm"} == set(rows(tmp_path / "curves.csv")[0])
    assert main(["plot", str(folder), "--metric", "eval/no", "--out", str(tmp_path)]) == 2
    assert "--metric must be one of eval/iqm, eval/return" in capsys.readouterr().err


def test_videos_are_written_without_a_display(trained, tmp_path, monkeypatch):
    folder, _ = trained
    monkeypatch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL") or "egl")
    assert main(["render", str(folder / "runs/dqn"), "--max-steps", "5", "--gif", "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dqn.gif", "dqn.mp4", "dqn.png"]


def test_every_episode_is_filmed_and_one_that_is_cut_off_says_so(trained, tmp_path, capsys):
    folder, _ = trained
    command = ["render", str(folder / "runs/dqn"), "--episodes", "3", "--out", str(tmp_path)]
    assert main([*command, "--max-steps", "4"]) == 0
    assert "dqn on CartPole-v1, return 4 (cut off), 4 (cut off), 4 (cut off): 15 frames\n" in capsys.readouterr().out
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "cut off" not in said
    returns = [int(part) for part in said.partition("return ")[2].partition(":")[0].split(", ")]
    assert len(returns) == 3
    assert f": {sum(returns)} frames" in said


class Plain(gymnasium.Env):
    """An environment as users write it, which renders nothing."""

    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 1.0, True, False, {}


class ForPeople(Plain):
    """An environment with a window only."""

    metadata: ClassVar = {"render_modes": ["human"]}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode


@pytest.mark.parametrize(("kind", "modes"), [(Plain, "[]"), (ForPeople, "['human']")])
def test_an_environment_without_images_is_trained_without_video(kind, modes, trained, tmp_path, monkeypatch, capsys):
    _, command = trained
    monkeypatch.setitem(gymnasium.registry, "Plain-v0", gymnasium.envs.registration.EnvSpec("Plain-v0", kind))
    settings = ["--env", "Plain-v0", "--algo", "dqn", "--seeds", "0", "--out", str(tmp_path)]
    assert main([*(part for part in command if part != "--no-video"), *settings]) == 0
    said = capsys.readouterr()
    assert f"no video: Plain-v0 cannot be rendered: render_modes must have 'rgb_array', got {modes}\n" in said.err
    assert "wrote curves.csv" in said.out


def test_where_nothing_renders_training_succeeds_and_says_how_to_get_video(trained, monkeypatch, capsys):
    _, command = trained
    monkeypatch.setattr("vl_rl.training.playing.choose_backend", lambda: None)

    def fail(self):
        raise RuntimeError("no driver")

    monkeypatch.setattr("gymnasium.envs.classic_control.cartpole.CartPoleEnv.render", fail)
    assert main([part for part in command if part != "--no-video"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "video" in line]
    assert len(said) == 1
    assert said[0].startswith("no video: CartPole-v1 cannot be rendered here (neither EGL nor OSMesa works: no driver)")
    assert "to get video, install EGL or OSMesa" in said[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--algo", "sacc"], "--algo must be among sac, td3"),
        (["train", "--relabel", "best"], "--relabel must be among air"),
        (["train", "--env", "Pendulam-v1"], "--env must be the id of an environment, got 'Pendulam-v1'"),
        (["train", "--env", "CartPole-v1", "--algo", "sac"], "--algo must take the discrete actions of CartPole-v1"),
        (["train", "--relabel", "air"], "--relabel must be left out for Pendulum-v1, which has no family of tasks"),
        (["train", "--hyperparams", "none.yml"], "--hyperparams must be a YAML file or a folder with fourier"),
        (["evaluate", "none"], "none is no folder of `vl-rl train`"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
