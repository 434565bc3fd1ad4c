"""Only what can be compared is compared: environments, tasks and seeds that both methods have."""

import csv

import numpy as np
import pytest
from vl_rl.cli import main


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    """Evaluate folders of the test, whose runs score ten for each step in thousands, and one for each seed."""

    def score(run, settings, device):
        return {run.settings.env: run.settings.total_timesteps / 100 + run.settings.seed}

    monkeypatch.setattr("vl_rl.commands.evaluate._play", score)

    def run(*folders, options=()):
        paths = [str(tmp_path / folder) for folder in folders]
        status = main(["evaluate", *paths, *options, "--out", str(tmp_path / "scores")])
        return status, capsys.readouterr()

    return run


def statistics(tmp_path):
    """Rows of the table of statistics, by environment, statistic and method."""
    with (tmp_path / "scores" / "statistics.csv").open(newline="") as file:
        return {(row["environment"], row["statistic"], row["method"]): row for row in csv.DictReader(file)}


def test_methods_on_different_environments_are_not_compared(write_run, evaluate, tmp_path):
    for seed in (0, 1):
        write_run("out", "sac", seed)
        write_run("out", "ppo", seed, env="CartPole-v1")
    status, said = evaluate("out")
    assert status == 0
    assert "better with probability" not in said.out
    assert said.err.splitlines()[-1] == "ppo and sac have different environments and are not compared on CartPole-v1"
    assert not [
        name for _, name, _ in statistics(tmp_path) if name in ("probability of improvement", "paired difference")
    ]


def test_each_environment_has_statistics_of_its_own(write_run, evaluate, tmp_path):
    for seed in (0, 1):
        for algo, steps in (("sac", 1000), ("td3", 3000)):
            write_run("pendulum", algo, seed, total_timesteps=steps)
            write_run("hopper", algo, seed, env="Hopper-v5", total_timesteps=10 * steps)
    status, said = evaluate("pendulum", "hopper", options=["--baseline", "sac"])
    found = statistics(tmp_path)
    means = {env: float(found[env, "mean", "td3"]["estimate"]) for env in ("Pendulum-v1", "Hopper-v5")}
    assert (status, means) == (0, {"Pendulum-v1": 30.5, "Hopper-v5": 300.5})
    assert float(found["Hopper-v5", "paired difference", "td3"]["estimate"]) == 200
    assert said.out.count("td3 over sac: better with probability 1 ") == 2
    assert (tmp_path / "scores" / "statistics-Hopper-v5.png").exists()
    assert dict(np.load(tmp_path / "scores" / "scores.npz"))["sac"].shape == (2, 2)


def test_methods_of_one_name_are_told_apart_by_their_folders(write_run, evaluate, tmp_path):
    for folder, steps in (("A", 1000), ("B", 2000)):
        for seed in (0, 1):
            write_run(folder, "sac", seed, total_timesteps=steps)
    status, said = evaluate("A", "B", "A")
    assert status == 0
    assert "A: sac over B: sac: better with probability 0 (0 to 0); by -10 (-10 to -10), seed by seed" in said.out
    assert set(np.load(tmp_path / "scores" / "scores.npz")) == {"A: sac", "B: sac"}
    with (tmp_path / "scores" / "scores.csv").open() as file:
        assert len(file.readlines()) == 5


@pytest.mark.parametrize(("theirs", "paired"), [((1, 2), "-19"), ((0, 1), None)])
def test_only_equal_seeds_are_pairs(theirs, paired, write_run, evaluate, tmp_path):
    for ours, other in zip((2, 3), theirs, strict=True):
        write_run("out", "fourier-dqn", ours, total_timesteps=1000)
        write_run("out", "dqn", other, total_timesteps=2900)
    status, said = evaluate("out", options=["--baseline", "dqn"])
    assert status == 0
    if paired is None:
        assert "fourier-dqn and dqn have no seed in common on Pendulum-v1, so there is no paired diff" in said.err
        assert "seed by seed" not in said.out
    else:
        assert f"; by {paired}, seed by seed\n" in said.out


def test_one_seed_has_no_interval(write_run, evaluate, tmp_path):
    write_run("out", "sac", total_timesteps=1000)
    write_run("out", "td3", total_timesteps=2000)
    status, said = evaluate("out", options=["--baseline", "sac"])
    assert status == 0
    assert " to " not in said.out.rpartition("wrote")[0]
    assert "intervals" not in said.out
    assert "td3 over sac: better with probability 1; by 10, seed by seed\n" in said.out
    row = statistics(tmp_path)["Pendulum-v1", "mean", "td3"]
    assert (row["estimate"], row["low"], row["high"]) == ("20", "", "")
