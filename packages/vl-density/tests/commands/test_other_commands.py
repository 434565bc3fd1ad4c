"""Samples and scores by the command: tables, figures, and one line for what is wrong."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from vl_core.data import image_batch, open_dataset
from vl_density.cli import main


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_samples_are_written_with_their_probabilities_and_score_reads_them(tmp_path, capsys):
    assert main(["sample", "--count", "5", "--seed", "3", "--out", str(tmp_path / "drawn")]) == 0
    drawn = rows(tmp_path / "drawn/samples.csv")
    images = np.load(tmp_path / "drawn/samples.npz")["x"]
    assert (images.shape, images.dtype) == ((5, 28, 28, 1), np.uint8)
    assert (tmp_path / "drawn/samples.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["score", str(tmp_path / "drawn/samples.npz"), "--out", str(tmp_path / "scored")]) == 0
    scored = rows(tmp_path / "scored/scores.csv")
    for one, other in zip(drawn, scored, strict=True):
        assert float(one["bits_per_dim"]) == pytest.approx(float(other["bits_per_dim"]), rel=1e-4)
    assert "5 images under fashion-0: median" in capsys.readouterr().out


@pytest.mark.parametrize(("model", "classes"), [("pixelcnn", True), ("pixelcnn++", False), ("transformer", False)])
def test_a_density_of_ones_own_is_trained_and_taken_by_the_other_commands(model, classes, tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", x=rng.integers(0, 256, (12, 8, 8), dtype=np.uint8), y=np.arange(12) % 2)
    arguments = ["train", "--images", str(tmp_path / "own.npz"), "--model", model, "--width", "8", "--layers", "1"]
    arguments += ["--levels", "16", "--head", "categorical", "--updates", "6", "--batch-size", "4"]
    arguments += ["--conditional"] * classes + ["--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    first = (tmp_path / "run/model/model.safetensors").read_bytes()
    assert (tmp_path / "run/samples.png").exists()
    assert "bits per dimension of 12 training images" in capsys.readouterr().out
    assert main(arguments) == 0  # finished: the same model again
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == first
    one = ["--condition", "1"] if classes else []
    drawn = ["sample", "--density", str(tmp_path / "run/model"), "--count", "3", *one, "--out", str(tmp_path / "drawn")]
    assert main(drawn) == 0
    assert np.load(tmp_path / "drawn/samples.npz")["x"].shape == (3, 8, 8, 1)


def test_completions_keep_what_is_known(tmp_path):
    assert main(["inpaint", "--count", "2", "--known", "left", "--share", "0.25", "--out", str(tmp_path)]) == 0
    found = np.load(tmp_path / "inpaint.npz")["x"][..., 0]
    original = (image_batch(open_dataset("fashion", split="test"))[:2, 0] * 255).round().numpy()
    assert (found[:, :, :7] == original[:, :, :7]).all()
    assert (found[:, :, 7:] != original[:, :, 7:]).any()
    assert (tmp_path / "inpaint.png").read_bytes()[:4] == b"\x89PNG"


def test_one_seed_gives_one_set_of_samples(tmp_path):
    for name in ("one", "other"):
        assert main(["sample", "--count", "2", "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "one/samples.csv").read_bytes() == (tmp_path / "other/samples.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--size", "0"], "--size must be at least 1, got 0"),
        (["train", "--model", "pixelcnn++", "--size", "15"], "image_size must be divisible by"),
        (["score", "fashion", "--split", "nope"], "nope"),
        (["sample", "--condition", "3"], "--condition must be left out: the model was made without classes"),
        (["train", "--head", "bernoulli"], "--head bernoulli needs --levels 2, got 256; take categorical"),
        (["inpaint", "--share", "1.5"], "--share must"),
        (["sample", "--density", "nothing"], "no density 'nothing': it is neither built in"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
