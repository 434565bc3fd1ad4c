"""`vl-ssl collapse`: one table from files of every kind, and one line for what is wrong with a file."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors
from vl_ssl import collapse_report
from vl_ssl.cli import main
from vl_ssl.collapse.feature_files import read_features


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the same features in every format."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(1500, 6)).astype(np.float32) * np.arange(1, 7, dtype=np.float32)
    np.save("a.npy", x)
    np.save("b.npy", np.asfortranarray(x.astype(">f8")))
    np.savez_compressed("a.npz", f=x, y=np.arange(1500), other=x[:, :2])
    save_file({"f": x, "y": np.arange(1500)}, "a.safetensors")
    pq.write_table(pa.table({"f": list(x), "name": ["?"] * 1500}), "a.parquet")
    pq.write_table(pa.table({"f": pa.array(list(x), pa.large_list(pa.float32()))}), "c.parquet")
    pq.write_table(pa.table({f"x{i}": x[:, i] for i in range(6)} | {"label": np.arange(1500)}), "b.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["a.npy", "b.npy", "a.npz", "a.safetensors", "a.parquet", "b.parquet", "c.parquet"])
def test_every_format_gives_the_same_features(folder, name):
    chunks = list(read_features(folder / name, "f" if name == "a.npz" else None))
    assert torch.equal(torch.cat(chunks).float(), torch.from_numpy(np.load("a.npy")))
    assert all(chunk.is_floating_point() for chunk in chunks)


def test_names_beside_the_only_array_of_two_dimensions_cost_nothing(folder):
    np.savez("named.npz", f=np.load("a.npy"), names=np.array(["?", None]))
    assert sum(len(chunk) for chunk in read_features(folder / "named.npz")) == 1500
    np.savez("names.npz", names=np.array(["?", None]))
    for key in (None, "names"):
        with pytest.raises(ValueError, match=r"array 'names' of .* holds Python objects"):
            list(read_features(folder / "names.npz", key))


def test_numbers_of_eight_bits_are_read_and_others_than_real_ones_refused(folder):
    values = torch.eye(3)
    save_tensors({"f": values.to(torch.float8_e4m3fn)}, "eight.safetensors")
    assert torch.equal(torch.cat(list(read_features(folder / "eight.safetensors"))), values)
    for dtype in (torch.bool, torch.complex64):
        save_tensors({"f": values.to(dtype)}, "odd.safetensors")
        with pytest.raises(ValueError, match=f"must hold real numbers of at most 64 bits, got {dtype}"):
            list(read_features(folder / "odd.safetensors"))


def test_large_files_come_in_chunks(folder, monkeypatch):
    monkeypatch.setattr("vl_ssl.collapse.feature_files._CHUNK_NUMBERS", 600)
    assert [len(chunk) for chunk in read_features(folder / "a.npy")] == [100] * 15


def test_the_command_writes_a_row_for_each_file_and_a_figure(folder, capsys):
    np.save("few.npy", np.load("a.npy")[:12].astype(np.int64))
    assert main(["collapse", "a.npy", "--limit", "7", "--out", "found"]) == 0
    assert "(7 for d = 6)" in capsys.readouterr().out
    assert main(["collapse", "a.npy", "few.npy", "--accurate", "--out", "found"]) == 0
    with (folder / "found/collapse.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    report = collapse_report(torch.from_numpy(np.load("a.npy")))
    assert [row["features"] for row in rows] == ["a.npy", "few.npy"]
    for name, value in report.as_dict().items():
        assert float(rows[0][name]) == pytest.approx(value, rel=1e-4)
    shown = capsys.readouterr().out
    assert "few.npy: only 2 samples per dimension (12 for d = 6)" in shown
    assert "a.npy: only" not in shown
    assert (folder / "found/spectrum.png").read_bytes().startswith(b"\x89PNG")


def test_without_files_it_shows_built_in_images(tmp_path, capsys):
    assert main(["collapse", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    aucs = {line[:20].strip(): float(line.split()[-7]) for line in shown.splitlines() if line.startswith("64 ")}
    assert aucs["64 of rank 4"] > 0.95 > max(auc for name, auc in aucs.items() if name != "64 of rank 4")


def damaged(name, content):
    """Write a file, or the first half of another."""

    def write(folder):
        (folder / name).write_bytes(content if isinstance(content, bytes) else b"")
        if isinstance(content, str):
            whole = (folder / content).read_bytes()
            (folder / name).write_bytes(whole[: len(whole) // 2])
        elif isinstance(content, np.ndarray):
            np.save(folder / name, content)

    return name, write


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        (damaged("t.npy", "a.npy"), [], "bytes of values, its header says"),
        (damaged("t.npz", "a.npz"), [], "not a whole .npz file"),
        (damaged("t.safetensors", "a.safetensors"), [], "not a whole safetensors file"),
        (damaged("t.parquet", "a.parquet"), [], "not a whole Parquet file"),
        (damaged("t.npy", b""), [], "is empty"),
        (damaged("t.npy", b"no array"), [], "no header of an array"),
        (damaged("t.txt", b"1"), [], "must be one of .npy"),
        (damaged("t.npy", np.arange(5.0)), [], r"shape (n, d)"),
        (damaged("t.npy", np.empty((0, 4))), [], r"shape (n, d)"),
        (damaged("t.npy", np.full((3, 2), np.nan)), [], "finite"),
        (damaged("t.npy", np.array([["a", "b"]])), [], "real numbers"),
        (damaged("t.npy", np.ones((3, 2))), ["--key", "f"], "holds one"),
        (("a.npz", None), [], "name one with --key"),
        (("a.npz", None), ["--key", "nope"], "there are f, y, other"),
        (("a.npz", None), ["--key", "y"], "shape (n, d)"),
        (("a.safetensors", None), ["--key", "nope"], "there are "),
        (("a.parquet", None), ["--key", "name"], "column of lists"),
        (("missing.npy", None), [], "is no file"),
        (("a.npy", None), ["--sketch", "3", "--accurate"], "must not both be given"),
    ],
)
def test_what_is_wrong_is_one_line(folder, capsys, file, options, words):
    name, write = file
    if write:
        write(folder)
    assert main(["collapse", name, "--out", "found", *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("vl-ssl: error: ")
    assert words in error
    assert not (folder / "found").exists()
