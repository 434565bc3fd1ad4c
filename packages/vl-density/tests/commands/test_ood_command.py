"""The command: tables, figure, sets of one's own, and one line for what is wrong."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from vl_density.cli import main


@pytest.fixture
def photos(tmp_path):
    """A folder of gray images."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index in range(6):
        pixels = rng.integers(0, 256, (28, 28), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{index}.png")
    return tmp_path / "photos"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_ones_own_is_scored_by_every_score(photos, tmp_path, capsys):
    arguments = ["ood", "--outside", str(photos), "--limit", "8", "--repetitions", "20", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    found = rows(tmp_path / "out/ood.csv")
    names = ["likelihood", "likelihood ratio", "complexity, png", "complexity, webp", "typicality", "WAIC"]
    assert [(row["set"], row["score"]) for row in found] == [("photos", name) for name in names]
    likelihood = {row["score"]: float(row["AUROC"]) for row in found}["likelihood"]
    assert likelihood == 1.0  # noise is improbable
    assert len(rows(tmp_path / "out/scores.csv")) == len(names) * (8 + 6)
    assert (tmp_path / "out/ood.png").read_bytes()[:4] == b"\x89PNG"
    said = capsys.readouterr().out
    assert "images outside are the positive class, 8 inside against 6 photos" in said
    assert "FPR95: share of images inside that are taken for outside where 95 % of those outside are found" in said
    assert "photos: no score is clearly best" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--outside", "nowhere/photos"], "there is no file or folder 'nowhere/photos'"),
        (["--codecs", "flif"], "--codecs must be among png, webp, jpeg-ls, jpeg-xl, got 'flif'"),
        (["--densities", "nothing", "--limit", "4"], "no density 'nothing': it is neither built in"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["ood", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
