"""Folders of one's own: any size, gray and color, broken files; and a training run whose process is killed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from vl_core.data import fit_image, image_to_tensor
from vl_density import PixelCNN, load_density, quantize
from vl_density.cli import main
from vl_density.commands._images import OpenedImages, open_images
from vl_density.commands.ood import _names

SMALL = ["--width", "8", "--layers", "1", "--batch-size", "4"]


@pytest.fixture
def photos(tmp_path):
    """Gray and color images of four sizes, and a file that is none."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index, size in enumerate([(40, 60), (70, 30, 3), (33, 33), (200, 100, 3)] * 2):
        pixels = rng.integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{index}.png")
    (tmp_path / "photos" / "5.png").write_bytes(b"\x89PNG, it says")
    return tmp_path / "photos"


def test_mixed_sizes_are_resized_by_their_shorter_side_and_keep_their_middle(photos):
    opened = open_images(str(photos), None, "train")
    assert opened.common_shape() == (3, 32, 32)
    dataset = opened.fitted((3, 32, 32))
    assert len(dataset) == 7
    with Image.open(photos / "0.png") as image:
        expected = fit_image(image_to_tensor(image), 32, 3)
    torch.testing.assert_close(dataset[0][0], expected)
    gray = open_images(str(photos), None, "train").batch((1, 16, 16), 8)
    assert gray.shape == (7, 1, 16, 16)
    assert torch.equal(quantize(gray, 8), gray)


@pytest.mark.parametrize(
    ("shapes", "side", "expected"),
    [
        ([(1, 28, 28)], None, (1, 28, 28)),
        ([(1, 8, 20)], None, (1, 8, 20)),
        ([(1, 28, 28), (3, 28, 28)], None, (3, 28, 28)),
        ([(1, 28, 28), (1, 28, 29)], None, (1, 32, 32)),
        ([(3, 65, 64)], None, (3, 32, 32)),
        ([(3, 64, 64)], 16, (3, 16, 16)),
    ],
)
def test_small_images_of_one_size_keep_it(shapes, side, expected):
    assert OpenedImages(None, frozenset(shapes)).common_shape(side) == expected


def test_images_that_fit_are_not_changed(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (5, 8, 12), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x=pixels)
    found = open_images(str(tmp_path / "own.npz"), None, "train").batch((1, 8, 12), 256)
    assert ((found * 255).round().byte().numpy()[:, 0] == pixels).all()
    with pytest.raises(ValueError, match=r"must be 6 by 12 pixels, got 8 by 12; images are resized for squares alone"):
        open_images(str(tmp_path / "own.npz"), None, "train").fitted((1, 6, 12))


def test_every_command_takes_a_mixed_folder(photos, tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main(["train", "--images", str(photos), "--updates", "3", "--size", "16", *SMALL, "--out", out]) == 0
    said = capsys.readouterr().out
    assert "left out 1 of 8 images that cannot be read; the first: " in said
    assert "images resized to 16 by 16 pixels, the middle of longer ones" in said
    assert "gray images as color" in said
    assert "bits per dimension of 7 training images" in said
    model = load_density(f"{out}/model")
    assert isinstance(model, PixelCNN)
    assert (model.channels, model.image_size) == (3, (16, 16))
    assert main(["score", str(photos), "--density", f"{out}/model", "--out", str(tmp_path / "scored")]) == 0
    with (tmp_path / "scored/scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 7
    assert main(["inpaint", "--images", str(photos), "--count", "2", "--out", str(tmp_path / "inpainted")]) == 0
    sets = ["--inside", str(photos), "--outside", "emoji", "--limit", "4", "--repetitions", "9"]
    ood = ["ood", "--densities", f"{out}/model", *sets, "--out", str(tmp_path / "ood")]
    assert main(ood) == 0
    said = capsys.readouterr().out
    assert "images outside are the positive class, 4 inside against 4 emoji" in said
    assert "likelihood ratio" not in said  # whose background belongs to clothes
    assert main(["ood", "--densities", f"{out}/model", "fashion-0", *sets, "--out", str(tmp_path / "ood")]) == 2
    assert "--densities must be of one size and number of levels" in capsys.readouterr().err
    levels = ["--levels", "16", "--updates", "3", "--size", "16", *SMALL]
    assert main(["train", "--images", str(photos), *levels, "--out", out]) == 2
    assert "density" in capsys.readouterr().err
    assert main(["inpaint", "--images", str(photos), "--share", "0.01", "--out", str(tmp_path / "inpainted")]) == 2
    assert "--share must leave some of 28 rows known" in capsys.readouterr().err


def test_sets_whose_folders_have_one_name_stay_apart(photos, tmp_path, capsys):
    names = [f"{tmp_path}/photos", "emoji"]
    assert [*map(str, _names(tuple(names)))] == ["photos", "emoji"]
    assert _names(("a/photos", "b/photos")) == ["a/photos (outside)", "b/photos (outside)"]
    assert _names(("./inside",)) == ["./inside (outside)"]
    assert main(["ood", "--outside", "emoji", "emoji", "--out", str(tmp_path / "ood")]) == 2
    assert "--outside must name each set once" in capsys.readouterr().err


def test_one_image_outside_is_refused_before_work(photos, tmp_path, capsys):
    assert main(["ood", "--outside", str(photos), "--limit", "1", "--out", str(tmp_path / "out")]) == 2
    assert "inside must hold at least two images, got 1" in capsys.readouterr().err


RUN = """
import sys
import vl_core.training._loop as loop
from vl_density.cli import main

loop.CHECKPOINT_SECONDS = 0.0
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_run_ends_like_one_that_was_not(photos, tmp_path):
    """Slow: three processes import PyTorch."""

    def command(out):
        options = ["--images", str(photos), "--size", "8", "--updates", "150", "--mutation-rate", "0.1", *SMALL]
        return [sys.executable, "-c", RUN, "train", *options, "--out", str(tmp_path / out)]

    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command("whole"), env=environment, check=True, capture_output=True)
    killed = subprocess.Popen(command("parts"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "parts/metrics.jsonl"
    while killed.poll() is None and not (metrics.exists() and metrics.read_text().count("\n")):
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert (tmp_path / "parts/checkpoint").exists()
    assert not (tmp_path / "parts/model").exists()
    subprocess.run(command("parts"), env=environment, check=True, capture_output=True)
    for name in ("model/model.safetensors", "model/config.json", "metrics.jsonl", "samples.png"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
