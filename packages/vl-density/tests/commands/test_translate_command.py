"""The command: every generator is measured on the way, a second call adds nothing, and one line says what is wrong."""

from __future__ import annotations

import csv

import pytest
from vl_density.cli import main
from vl_density.commands import translate


@pytest.fixture
def quick(monkeypatch):
    """A classifier of a few steps, and the test images, which are fewer, in the place of those for training."""
    fit, images, labels = translate.fit_classifier, translate.open_fashion("test"), translate._labels("test")
    monkeypatch.setattr(translate, "open_fashion", lambda split: images)
    monkeypatch.setattr(translate, "_labels", lambda split: labels)
    monkeypatch.setattr(translate, "fit_classifier", lambda images, labels: fit(images, labels, updates=3))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_generator_is_trained_and_measured(quick, tmp_path, capsys):
    arguments = ["translate", "--updates", "4", "--batch-size", "2", "--limit", "4", "--seeds", "1"]
    arguments += ["--threads", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    ends = rows(tmp_path / "translate.csv")
    names = ["source", "true pair", "pairs", "critic", "density", "density, after pairs"]
    assert [row["images"] for row in ends] == names
    assert float(ends[1]["distance"]) == 0
    assert float(ends[0]["sharpness"]) == pytest.approx(0.5)
    steps = rows(tmp_path / "steps.csv")
    assert [row["update"] for row in steps if row["signal"] == "critic"] == ["0", "1", "2", "3", "4"]
    last = {row["signal"]: row for row in steps if row["update"] == "4"}
    for row in ends[2:]:
        assert float(row["bits"]) == pytest.approx(float(last[row["images"]]["bits"]), rel=1e-4)
    # The warm one begins where the pairs ended.
    begins = next(row for row in steps if row["signal"] == "density, after pairs")
    assert float(begins["distance"]) == pytest.approx(float(last["pairs"]["distance"]), rel=1e-4)
    assert (tmp_path / "translate.png").read_bytes()[:4] == b"\x89PNG"
    assert "bits per dim: of the density; fewer are more probable" in capsys.readouterr().out
    first = (tmp_path / "steps.csv").read_bytes()
    assert main(arguments) == 0  # finished: the same numbers again
    assert (tmp_path / "steps.csv").read_bytes() == first
    assert rows(tmp_path / "translate.csv") == ends
    assert main([*arguments, "--limit", "5"]) == 2  # measures on the way are of four images
    assert "test_images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--updates", "3"], "--updates must be at least 4, got 3"),
        (["--limit", "1"], "--limit must be at least 2, got 1"),
        (["--learning-rate", "0"], "--learning-rate must be above 0, got 0"),
        (["--density", "nothing"], "no density 'nothing': it is neither built in"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["translate", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
