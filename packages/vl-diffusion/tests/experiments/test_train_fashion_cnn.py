"""The script that trains the baseline of the diffusion classifier, on a few synthetic images."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import train_fashion_cnn
from vl_core.results import read_rows

HEADER = (
    "model,seed,train_images,epochs,parameters,test_images,correct,"
    "accuracy,low,high,seconds,threads,hardware,torch,command,commit"
)


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 0x08, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), 1))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty-eight images whose brightness is their class, in the files of Fashion-MNIST."""
    labels = np.arange(48) % 10
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.broadcast_to(25 * labels[:, None, None], (48, 28, 28)))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
    return tmp_path


@pytest.fixture
def run(data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, str]]]:
    """The script with a tiny model and more arguments; the rows that there are afterwards."""
    out = data / "rows" / "baseline.csv"
    tiny = ["--data", str(data), "--out", str(out), "--epochs", "1", "--batch", "16", "--width", "2"]

    def call(*more: str) -> list[dict[str, str]]:
        monkeypatch.setattr("sys.argv", ["fashion/train_fashion_cnn.py", *tiny, *more])
        train_fashion_cnn.main()
        return read_rows(out) if out.exists() else []

    return call


def test_each_run_appends_a_row_on_the_held_out_images_and_a_seed_repeats_it(
    run: Callable[..., list[dict[str, str]]],
) -> None:
    threads = torch.get_num_threads()
    run("--threads", str(threads))
    first, again = run("--threads", str(threads))
    assert ",".join(first) == HEADER
    assert (first["model"], first["train_images"], first["test_images"]) == ("cnn5-2", "48", "2000")
    assert first["command"].startswith("python fashion/train_fashion_cnn.py --data ")
    assert float(first["accuracy"]) == pytest.approx(100 * int(first["correct"]) / 2000, abs=5e-3)
    assert float(first["low"]) < float(first["accuracy"]) < float(first["high"])
    assert int(first["parameters"]) == sum(p.numel() for p in train_fashion_cnn.build_model(2).parameters())
    assert first["correct"] == again["correct"]


def test_validation_evaluates_on_held_out_training_images_and_writes_nothing(
    run: Callable[..., list[dict[str, str]]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train_fashion_cnn, "held_out", lambda: pytest.fail("the test split was read"))
    rows = run("--validate", "16", "--threads", str(torch.get_num_threads()))
    assert rows == []
    assert "train_images=32 " in capsys.readouterr().out


def test_augmentation_mirrors_and_shifts_whole_images() -> None:
    original = torch.zeros(5, 5, dtype=torch.uint8)
    original[2, 1], original[2, 2] = 3, 7
    shown = train_fashion_cnn.augment(original.expand(400, 5, 5), shift=1, generator=torch.Generator().manual_seed(0))
    assert shown.dtype == torch.uint8
    possible = {
        torch.roll(version, (down, right), (0, 1)).numpy().tobytes()
        for version in (original, original.flip(1))
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }
    assert {image.numpy().tobytes() for image in shown} == possible


def test_held_out_images_are_two_hundred_of_each_class() -> None:
    images, labels = train_fashion_cnn.held_out()
    assert images.shape == (2000, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.bincount().tolist() == [200] * 10
