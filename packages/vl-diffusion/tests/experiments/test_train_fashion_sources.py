"""The script that trains the source classifiers of the study of test-time adaptation, on synthetic images."""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import train_fashion_sources
from safetensors.torch import load_file
from vl_diffusion.models.small_cnn import SmallCNN


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 0x08, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), 1))


def run(monkeypatch: pytest.MonkeyPatch, data: Path, out: Path, *more: str) -> None:
    tiny = ["--data", data, "--out", out, "--steps", 2, "--batch", 8, "--width", 8]
    tiny += ["--threads", torch.get_num_threads()]
    monkeypatch.setattr(sys, "argv", ["train_fashion_sources.py", *map(str, tiny), *more])
    train_fashion_sources.main()


def test_labels_are_balanced_and_chosen_by_the_seed() -> None:
    labels = torch.arange(300) % 10
    chosen = train_fashion_sources.labeled_part(labels, 50, 0)
    assert labels[chosen].bincount().tolist() == [5] * 10
    assert len(chosen.unique()) == 50
    assert torch.equal(chosen, train_fashion_sources.labeled_part(labels, 50, 0))
    assert not torch.equal(chosen, train_fashion_sources.labeled_part(labels, 50, 1))
    assert len(train_fashion_sources.labeled_part(labels, None, 0)) == 300


@pytest.mark.parametrize("more", [(), ("--augment",)])
def test_one_network_per_seed_is_saved_and_a_seed_reproduces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    random = np.random.default_rng(0)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", random.integers(0, 256, (60, 28, 28)))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(60) % 10)
    for out in ("first", "again"):
        run(monkeypatch, tmp_path, tmp_path / out, "--labels", "20", "--seeds", "0", "1", *more)
    assert "seed 1: 20 labels, " in capsys.readouterr().out
    first, again, other = (
        SmallCNN.from_pretrained(tmp_path / folder).state_dict()
        for folder in ("first/seed-0", "again/seed-0", "first/seed-1")
    )
    stored = load_file(tmp_path / "first/seed-0/model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert {value.dtype for value in first.values()} == {torch.float32}
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())
