"""Curves are drawn of what there is, and of runs in training as far as they are."""

import csv

import pytest
from vl_rl.cli import main


@pytest.fixture
def plot(tmp_path, capsys):
    """Plot folders of the test; the status, the values by method, seed and step, and standard error."""

    def run(*folders):
        status = main(["plot", *(str(tmp_path / folder) for folder in folders), "--out", str(tmp_path / "plot")])
        error = capsys.readouterr().err
        if status:
            return status, {}, error
        with (tmp_path / "plot" / "curves.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return status, {(r["method"], int(r["seed"]), int(r["step"])): float(r["eval/return"]) for r in rows}, error

    return run


def test_a_seed_in_training_cuts_the_others_off_and_says_so(write_run, plot):
    write_run("out", seed=0, curve={0: 1.0, 10: 2.0, 20: 3.0})
    newest = write_run("out", seed=1, curve={0: 1.0, 12: 2.0}, finished=False)
    with (newest / "metrics.jsonl").open("a") as file:
        file.write('{"step": 24, "eval/ret')
    write_run("out", seed=2, finished=False)
    status, found, error = plot("out")
    assert status == 0
    assert {step for _, _, step in found} == {0, 10, 12}
    assert error.splitlines() == [
        f"{newest.parent / 'seed-2'} has no eval/return yet and is left out",
        "sac is drawn up to step 12: seed 1 is in training",
    ]


def test_damage_within_the_metrics_names_file_and_line(write_run, plot):
    folder = write_run("out", curve={0: 1.0})
    (folder / "metrics.jsonl").write_text('{"step": 0, "eval/return": 1.0}\n{"step": 5, "eval\n{"step": 6}\n')
    status, _, error = plot("out")
    assert status == 2
    assert f"{folder / 'metrics.jsonl'}, line 2 is not a row of metrics" in error
    assert error.count("\n") == 1


def test_one_method_in_several_folders_or_on_several_environments_has_a_curve_for_each(write_run, plot):
    write_run("A", curve={0: 1.0})
    write_run("B", curve={0: 2.0}, total_timesteps=10)
    write_run("A", "dqn", curve={0: 3.0}, env="CartPole-v1")
    write_run("C", "dqn", curve={0: 4.0}, env="Acrobot-v1")
    write_run("C", "ppo", 0, curve={0: 5.0})
    write_run("B", "ppo", 1, curve={0: 6.0})
    _, found, _ = plot("A", "B", "C")
    assert found == {
        ("A: sac", 0, 0): 1.0,
        ("B: sac", 0, 0): 2.0,
        ("dqn on CartPole-v1", 0, 0): 3.0,
        ("dqn on Acrobot-v1", 0, 0): 4.0,
        ("ppo", 0, 0): 5.0,
        ("ppo", 1, 0): 6.0,
    }


def test_folders_of_one_name_are_named_by_what_differs(write_run, plot):
    write_run("A/out", curve={0: 1.0})
    write_run("B/out", curve={0: 2.0})
    _, found, _ = plot("A", "B/out")
    assert {method for method, _, _ in found} == {"A: sac", "B: sac"}
