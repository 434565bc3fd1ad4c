"""`vl-diffusion classify` as a user meets it: results, resumption, and errors that leave nothing behind."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from vl_diffusion.cli import main
from vl_diffusion.commands import _running
from vl_diffusion.models.families.class_conditional import ClassConditionalDenoiser

QUICK = ("--search", "staged", "--draws", "2", "4", "--keep", "3", "1")


@pytest.fixture
def folder(tmp_path):
    """A folder of five images in two classes."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(("cat", "cat", "cat", "dog", "dog")):
        path = tmp_path / "images" / name / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (28 + i, 28, 3), np.uint8)).save(path)
    return tmp_path / "images"


def rows(out):
    with (out / "classify.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_a_image_and_a_file_come_out(folder, pixel_dit_folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]) == 0
    table = capsys.readouterr().out
    assert "true" in table
    assert "of 5 correct" in table
    found = rows(out)
    assert [row["true"] for row in found] == ["cat"] * 3 + ["dog"] * 2
    assert all(int(row["evaluations"]) == 10 * 2 + 3 * 2 for row in found)
    assert all(float(row[f"error: {row['predicted']}"]) > 0 for row in found)
    with Image.open(out / "classify.png") as image:
        assert image.width > 500


def test_files_without_a_truth_are_only_named(folder, pixel_dit_folder, tmp_path, capsys):
    files = [str(path) for path in sorted(folder.glob("*/*.png"))]
    out = tmp_path / "out"
    assert main(["classify", *files, "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]) == 0
    assert "right" not in capsys.readouterr().out
    assert [row["image"] for row in rows(out)] == files


def test_folders_that_are_none_of_the_classes_say_nothing_of_the_truth(folder, pixel_dit_folder, tmp_path, capsys):
    (folder / "cat").rename(folder / "2023")
    (folder / "dog").rename(folder / "2024")
    out = tmp_path / "out"
    assert main(["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines()[0] == "folders or labels 2023, 2024 are none of the classes; no accuracy"
    assert "right" not in printed.out
    assert "wrong" not in printed.out
    assert [row["true"] for row in rows(out)] == [""] * 5


def test_accuracy_is_over_the_folders_that_are_classes(folder, pixel_dit_folder, tmp_path, capsys):
    (folder / "cat").rename(folder / "holidays")
    out = tmp_path / "out"
    assert main(["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]) == 0
    printed = capsys.readouterr()
    line = "folders or labels holidays are none of the classes; accuracy leaves out their 3 images"
    assert printed.err.splitlines()[0] == line
    assert "of 2 correct" in printed.out
    assert [row["true"] for row in rows(out)] == ["dog"] * 2 + [""] * 3


def test_a_text_model_takes_the_classes_of_the_images(folder, sd_folder, tmp_path):
    out = tmp_path / "out"
    assert main(["classify", str(folder), "--model", str(sd_folder), "--out", str(out), "--limit", "2", *QUICK]) == 0
    assert {name for name in rows(out)[0] if name.startswith("error: ")} == {"error: cat", "error: dog"}


def test_images_without_classes_need_some_for_a_text_model(folder, sd_folder, tmp_path, capsys):
    file = str(next(folder.glob("*/*.png")))
    assert main(["classify", file, "--model", str(sd_folder), "--out", str(tmp_path / "out")]) == 2
    assert "classes is missing" in capsys.readouterr().err


def test_limit_takes_images_from_everywhere(folder, pixel_dit_folder, tmp_path):
    out = tmp_path / "out"
    arguments = ["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(out), "--limit", "2", *QUICK]
    assert main(arguments) == 0
    assert [row["true"] for row in rows(out)] == ["cat", "dog"]


def test_an_interrupted_command_goes_on_and_ends_with_the_same_numbers(
    folder, pixel_dit_folder, tmp_path, monkeypatch, capsys
):
    arguments = ["classify", str(folder), "--model", str(pixel_dit_folder), *QUICK, "--out"]
    assert main([*arguments, str(tmp_path / "whole")]) == 0

    append, calls = _running.ResultLog.append, []

    def interrupted(self, results):
        if calls:
            raise KeyboardInterrupt
        calls.append(len(results))
        append(self, results)

    out = tmp_path / "parts"
    with monkeypatch.context() as patch:
        patch.setattr(_running.ResultLog, "append", interrupted)
        assert main([*arguments, str(out)]) == 130
    line = f"vl-diffusion: interrupted; 1 of 5 images are kept in {out}; rerun the command to resume"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert not (out / "classify.csv").exists()
    # A line that was being written when the machine stopped.
    with (out / "results.jsonl").open("a") as file:
        file.write('{"image_ids": 12')
    capsys.readouterr()
    # The batch size may change: results do not depend on it.
    assert main([*arguments, str(out), "--batch-size", "7"]) == 0
    assert "1 of 5 images are finished" in capsys.readouterr().err
    for part, whole in zip(rows(out), rows(tmp_path / "whole"), strict=True):
        assert part["predicted"] == whole["predicted"]
        for name in (column for column in whole if column.startswith("error: ")):
            assert float(part[name]) == pytest.approx(float(whole[name]), rel=1e-5)


def test_a_folder_holds_results_of_one_setting(folder, pixel_dit_folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]
    assert main(arguments) == 0
    before = (out / "classify.csv").read_bytes()
    assert main([*arguments, "--seed", "5"]) == 2
    assert "seed" in capsys.readouterr().err
    assert (out / "classify.csv").read_bytes() == before


def test_a_network_that_returns_no_numbers_keeps_what_is_finished(
    folder, pixel_dit_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("vl_diffusion.classification.engine._BATCHES_A_ROUND", 1)
    out, predict, calls = tmp_path / "out", ClassConditionalDenoiser.predict, []

    def broken(self, x_t, time, condition):
        calls.append(len(x_t))
        # The first two images are finished with the first stage of the third: 2 x 26 + 20 evaluations.
        return predict(self, x_t, time, condition) * (1.0 if sum(calls) <= 72 else np.nan)

    monkeypatch.setattr(ClassConditionalDenoiser, "predict", broken)
    arguments = ["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]
    assert main([*arguments, "--batch-size", "16"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("vl-diffusion: error: the error of 'airplane' at time step")
    assert len((out / "results.jsonl").read_text().splitlines()) == 2


def test_a_folder_holds_results_of_one_set_of_images(folder, pixel_dit_folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    settings = ("--model", str(pixel_dit_folder), "--out", str(out), *QUICK)
    assert main(["classify", str(folder / "cat"), *settings]) == 0
    before = (out / "classify.csv").read_bytes(), (out / "classify.png").read_bytes()
    capsys.readouterr()
    assert main(["classify", str(folder / "dog"), *settings]) == 2
    error = capsys.readouterr().err
    assert f"images ('{folder / 'cat'}' in the folder, now '{folder / 'dog'}')" in error
    many = sorted(map(str, folder.glob("*/*.png")))
    assert main(["classify", *many, *settings]) == 2
    assert f"now '{many[0]}, {many[1]}, {many[2]} and 2 more (sha256 " in capsys.readouterr().err
    assert ((out / "classify.csv").read_bytes(), (out / "classify.png").read_bytes()) == before
    # The same images from elsewhere.
    monkeypatch.chdir(folder / "dog")
    assert main(["classify", "../cat", *settings]) == 0


def test_a_folder_holds_results_of_one_split(folder, pixel_dit_folder, tmp_path, capsys):
    (folder / "cat").rename(folder / "train")
    (folder / "dog").rename(folder / "test")
    arguments = ["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(tmp_path / "out"), *QUICK]
    assert main([*arguments, "--split", "test"]) == 0
    assert main([*arguments, "--split", "train"]) == 2
    assert "split ('test' in the folder, now 'train')" in capsys.readouterr().err


def test_a_larger_limit_goes_on_with_the_same_images(folder, pixel_dit_folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]
    assert main([*arguments, "--limit", "2"]) == 0
    assert main(arguments) == 0
    assert "2 of 5 images are finished" in capsys.readouterr().err
    assert len(rows(out)) == 5


@pytest.mark.parametrize(("model", "part"), [("pixel_dit_folder", "."), ("sd_folder", "unet")])
def test_a_model_that_was_trained_again_does_not_go_on_with_the_old_results(
    folder, model, part, request, tmp_path, capsys
):
    copy = shutil.copytree(request.getfixturevalue(model), tmp_path / "model")
    out = tmp_path / "out"
    arguments = ["classify", str(folder), "--model", str(copy), "--out", str(out), "--limit", "1", *QUICK]
    assert main(arguments) == 0
    before = (out / "classify.csv").read_bytes()
    # A file that loading does not read changes nothing.
    (copy / "README.md").write_text("trained for longer")
    assert main(arguments) == 0
    weights = copy / part / "diffusion_pytorch_model.safetensors"
    save_file({name: value * 1.01 for name, value in load_file(weights).items()}, weights, {"format": "pt"})
    capsys.readouterr()
    assert main(arguments) == 2
    assert f"the model in {copy} has changed since the results in {out}" in capsys.readouterr().err
    assert (out / "classify.csv").read_bytes() == before
    assert main([*arguments[:5], str(tmp_path / "other"), *arguments[6:]]) == 0


@pytest.mark.parametrize(
    ("where", "images", "again"),
    [
        (".", ["."], ["."]),
        ("cat", ["."], ["."]),
        (".", ["cat/0.png"], ["cat/0.png", "vl-diffusion-classify/classify.png"]),
    ],
)
def test_results_that_lie_among_the_images_are_no_images(where, images, again, folder, pixel_dit_folder, monkeypatch):
    monkeypatch.chdir(folder / where)
    settings = ("--model", str(pixel_dit_folder), *QUICK)
    assert main(["classify", *images, *settings]) == 0
    out = folder / where / "vl-diffusion-classify"
    before = rows(out)
    assert main(["classify", *again, *settings]) == 0
    assert rows(out) == before
    assert main(["classify", str(out / "classify.png"), *settings]) == 2


@pytest.mark.parametrize(
    "name",
    ["$x_1$", "$\\frac$", "cash$", "\N{CAT FACE}", "a\nb", "a,b", pytest.param(os.fsdecode(b"caf\xe9"), id="latin-1")],
)
def test_names_of_any_kind_survive(name, folder, sd_folder, tmp_path, monkeypatch):
    try:
        (folder / "cat").rename(folder / name)
    except OSError:
        pytest.skip("the file system does not take this name")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    out, classes = tmp_path / "out", ["--classes", "dog", "cat" if "\udce9" in name else name]
    assert main(["classify", str(folder), "--model", str(sd_folder), "--out", str(out), *classes, *QUICK]) == 0
    written = name.encode(errors="backslashreplace").decode()
    with (out / "classify.csv").open(newline="", encoding="utf-8") as file:
        assert f"{written}/2.png" in [row["image"] for row in csv.DictReader(file)]
    with Image.open(out / "classify.png") as image:
        assert image.width > 500
    terminal.flush()
    shown = name.replace("\n", "\\n").encode("ascii", "backslashreplace")
    assert shown in terminal.buffer.getvalue()


def test_a_chart_that_cannot_be_drawn_leaves_the_old_one(folder, pixel_dit_folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = ["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]
    assert main(arguments) == 0
    before = (out / "classify.png").read_bytes()

    def full(self, file, **settings):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    assert main(arguments) == 2
    assert (out / "classify.png").read_bytes() == before


def test_the_same_image_twice_is_evaluated_once(folder, pixel_dit_folder, tmp_path):
    file, out = str(sorted(folder.glob("*/*.png"))[0]), tmp_path / "out"
    assert main(["classify", file, file, "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]) == 0
    assert len(rows(out)) == 2
    assert len((out / "results.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("damaged", [None, "null", "[1]", "5", '"text"', '{"image_ids": null}'])
def test_a_record_damaged_in_the_middle_is_named(damaged, folder, pixel_dit_folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]
    assert main(arguments) == 0
    lines = (out / "results.jsonl").read_text().splitlines()
    lines[1] = lines[1][:40] if damaged is None else damaged
    (out / "results.jsonl").write_text("\n".join(lines) + "\n")
    assert main(arguments) == 2
    assert "results.jsonl, line 2 is damaged" in capsys.readouterr().err


def huge_png(path):
    """A PNG whose header says 50,000 x 50,000."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return str(path)


def text_jpg(path):
    path.write_text("this is no image")
    return str(path)


def array(path, values):
    np.savez(path, x=values.astype(np.float32))
    return str(path)


BAD_INPUT = {
    "missing file": (lambda d: [str(d / "absent.png")], "absent.png"),
    "text named .jpg": (lambda d: [text_jpg(d / "fake.jpg")], "fake.jpg"),
    "huge header": (lambda d: [huge_png(d / "bomb.png")], "bomb.png"),
    "NaN": (lambda d: [array(d / "nan.npz", np.full((2, 8, 8, 3), np.nan))], "nan.npz"),
    "two channels": (lambda d: [array(d / "two.npz", np.zeros((2, 8, 8, 2)))], "two.npz"),
    "zero classes": (lambda d: ["fashion", "--classes"], "at least two"),
    "one class": (lambda d: ["fashion", "--classes", "cat"], "at least two"),
    "duplicate classes": (lambda d: ["fashion", "--classes", "cat", "dog", "cat"], "'cat' more than once"),
    "unknown class": (lambda d: ["fashion", "--classes", "cat", "unicorn"], "unicorn"),
    "unknown model": (lambda d: ["fashion", "--model", str(d / "nowhere")], "nowhere"),
    "stages": (lambda d: ["fashion", "--search", "staged", "--draws", "4", "2", "--keep", "2", "1"], "increase"),
    "limit": (lambda d: ["fashion", "--limit", "0"], "limit"),
    "noise of a race": (lambda d: ["fashion", "--noise", "timesteps"], "--noise timesteps needs --search staged"),
    "trials of a race": (lambda d: ["fashion", "--trials", "2"], "--trials is for --search staged and exhaustive"),
    "no draws": (lambda d: ["fashion", "--search", "exhaustive", "--draws"], "--draws"),
    "no stages": (lambda d: ["fashion", "--draws"], "draws"),
    "unknown device": (lambda d: ["fashion", "--device", "toaster"], "--device"),
    "absent device": (lambda d: ["fashion", "--device", "cuda:99"], "--device"),
    "device without memory": (lambda d: ["fashion", "--device", "meta"], "--device"),
    "no name behind hf:": (lambda d: ["hf:"], "'hf:' alone"),
    "empty folder": (lambda d: [str(d)], str),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_leaves_nothing(case, pixel_dit_folder, tmp_path, capsys):
    make, cause = BAD_INPUT[case]
    source = tmp_path / "source"
    source.mkdir()
    out = tmp_path / "out"
    arguments = ["classify", *make(source), "--out", str(out)]
    if "--model" not in arguments:
        arguments += ["--model", str(pixel_dit_folder)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("vl-diffusion: error: ")
    assert error.count("\n") == 1
    assert (str(source) if cause is str else cause) in error
    assert not out.exists()


def test_a_missing_extra_is_one_line_that_names_it(pixel_dit_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "images.parquet").write_bytes(b"PAR1")
    out = tmp_path / "out"
    arguments = ["classify", str(tmp_path / "images.parquet"), "--model", str(pixel_dit_folder), "--out", str(out)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("vl-diffusion: error: pyarrow is not installed")
    assert error.count("\n") == 1
    assert not out.exists()


def test_the_record_is_plain_json(folder, pixel_dit_folder, tmp_path):
    out = tmp_path / "out"
    assert main(["classify", str(folder), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]) == 0

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    for line in (out / "results.jsonl").read_text().splitlines():
        row = json.loads(line, parse_constant=refuse)
        assert len(row["errors"]) == 10
