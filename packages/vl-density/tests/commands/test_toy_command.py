"""The command: the table says what the figure shows, and one line says what is wrong."""

from __future__ import annotations

import csv

import pytest
from vl_density.cli import main

QUICK = ["--dimensions", "9", "--templates", "3", "--examples", "500", "--updates", "20", "--starts", "5"]


def test_a_quick_study_writes_table_and_figure(tmp_path, capsys):
    assert main(["toy", *QUICK, "--steps", "20", "--seeds", "2", "--out", str(tmp_path)]) == 0
    with (tmp_path / "toy.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["density"] for row in rows[::5]] == ["the model", "narrow", "fewer data"]
    assert {row["width"] for row in rows[5:10]} == {"8"}
    assert {row["examples"] for row in rows[10:]} == {"50"}
    assert {row["seeds"] for row in rows} == {"2"}
    assert float(rows[3]["left low"]) <= float(rows[3]["left"]) <= float(rows[3]["left high"])
    assert (tmp_path / "toy.png").read_bytes()[:4] == b"\x89PNG"
    said = capsys.readouterr().out
    assert "outside: the true log-density is below that of 999 in 1,000 held-out data" in said
    assert "means over 2 seeds" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dimensions", "1"], "--dimensions must be from 2 to 256, got 1"),
        (["--noise", "0"], "--noise must be above 0, got 0"),
        (["--width", "3"], "--width must be from 4 to 1024, got 3"),
        (["--examples", "9"], "--examples must be at least 10, got 9"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["toy", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
