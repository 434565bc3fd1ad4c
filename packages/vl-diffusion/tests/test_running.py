"""Configuration that a folder of results depends on, and names of images in a command."""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from vl_core.runs.append_only import AppendOnlyFile
from vl_diffusion.cli import main
from vl_diffusion.runs.image_collection import gather

QUICK = ("--search", "exhaustive", "--draws", "2")


@pytest.fixture
def files(tmp_path):
    """Three images whose names are no ordinary ones."""
    paths = []
    for i, name in enumerate(("a b.png", "c\x85d.png", "e\nf.png")):
        paths.append(tmp_path / name)
        Image.fromarray(np.full((28, 28), 40 * i + 40, np.uint8)).save(paths[-1], "PNG")
    return paths


def standard_input(content, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\0", "no last"])
def test_a_list_on_standard_input_names_the_images(ends, files, pixel_dit_folder, tmp_path, monkeypatch):
    listed = files if ends == "\0" else files[:2]
    content = "\n".join(map(str, listed)) if ends == "no last" else "".join(f"{path}{ends}" for path in listed)
    standard_input(os.fsencode(content), monkeypatch)
    out = tmp_path / "out"
    assert main(["classify", "-", "--model", str(pixel_dit_folder), *QUICK, "--out", str(out)]) == 0
    assert len(AppendOnlyFile(out / "results.jsonl").lines()) == len(listed)


def test_a_name_that_is_no_utf8_may_be_listed(files, pixel_dit_folder, tmp_path, monkeypatch):
    strange = tmp_path / os.fsdecode(b"caf\xe9.png")
    try:
        files[0].rename(strange)
    except OSError:
        pytest.skip("the file system does not take this name")
    standard_input(os.fsencode(strange) + b"\n", monkeypatch)
    out = tmp_path / "out"
    assert main(["classify", "-", "--model", str(pixel_dit_folder), *QUICK, "--out", str(out)]) == 0


def test_an_empty_list_is_one_line(pixel_dit_folder, tmp_path, monkeypatch, capsys):
    standard_input(b"\n \n", monkeypatch)
    assert main(["classify", "-", "--model", str(pixel_dit_folder), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == ("vl-diffusion: error: standard input names no images; give a file name a line\n")


def test_the_folder_remembers_what_results_depend_on_and_nothing_else(files, pixel_dit_folder, tmp_path):
    out = tmp_path / "out"
    arguments = ["classify", str(files[0]), "--model", str(pixel_dit_folder), *QUICK, "--out", str(out)]
    assert main(arguments) == 0
    assert set(json.loads((out / "config.json").read_text())) == {
        *("images", "split", "model", "model_sha256", "precision", "image_size", "classes"),
        *("variant", "model_config", "timestep_embedding"),
        *("prompt_template", "templates", "prompt_combination"),
        *("search", "draws", "keep", "grid", "level", "bound", "tree_sha256", "max_evaluations"),
        *("objective", "error_space", "weighting", "aggregation", "time_range", "seed"),
    }
    for changed in (("--batch-size", "3"), ("--device", "cpu"), ("--limit", "1"), ("--temperature", "0.1")):
        assert main([*arguments, *changed]) == 0
    for changed in (("--precision", "bfloat16"), ("--draws", "3"), ("--objective", "l1"), ("--weighting", "snr")):
        assert main([*arguments, *changed]) == 2


def test_where_prompts_are_mixed_the_temperature_decides(files, sd_folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["classify", str(files[0]), "--model", str(sd_folder), "--classes", "cat", "dog", *QUICK]
    arguments += ["--prompt-template", "a {}.", "the {}.", "--prompt-combination", "logsumexp", "--out", str(out)]
    assert main(arguments) == 0
    assert main([*arguments, "--temperature", "0.1"]) == 2
    assert "temperature (1.0 in the folder, now 0.1)" in capsys.readouterr().err


def test_a_tree_is_what_is_in_its_file(files, pixel_dit_folder, tmp_path, tiny, capsys):
    tree, moved, out = tmp_path / "tree.json", tmp_path / "moved.json", tmp_path / "out"
    tree.write_text(json.dumps({"animals": tiny.CLASSES[:5], "others": tiny.CLASSES[5:]}))
    arguments = ["classify", str(files[0]), "--model", str(pixel_dit_folder), "--search", "tree", "--draws", "8"]
    assert main([*arguments, "--tree", str(tree), "--out", str(out)]) == 0
    moved.write_bytes(tree.read_bytes())
    assert main([*arguments, "--tree", str(moved), "--out", str(out)]) == 0
    moved.write_text(json.dumps({"some": tiny.CLASSES[:3], "others": tiny.CLASSES[3:]}))
    assert main([*arguments, "--tree", str(moved), "--out", str(out)]) == 2
    assert "tree_sha256" in capsys.readouterr().err


@pytest.mark.parametrize("search", ["halving", "tree"])
def test_few_draws_are_enough_for_every_search(search, files, pixel_dit_folder, tmp_path, tiny):
    tree = tmp_path / "tree.json"
    tree.write_text(json.dumps({name: [name] for name in tiny.CLASSES}))
    arguments = ["classify", str(files[0]), "--model", str(pixel_dit_folder), "--search", search, "--draws", "3"]
    given = ("--tree", str(tree)) if search == "tree" else ()
    assert main([*arguments, *given, "--out", str(tmp_path / "out")]) == 0


def test_a_limit_takes_all_classes_in_proportion_and_a_larger_one_keeps_them():
    # Every tenth image is of the same class; a constant distance between the chosen would leave some out.
    few, more = (gather(["fashion"], split="test", at_most=n).entries for n in (40, 203))
    assert set(Counter(image.truth for image in few).values()) == {4}
    assert set(Counter(image.truth for image in more).values()) == {20, 21}
    assert [image.index for image in few] == sorted(image.index for image in few)
    assert {image.index for image in few} < {image.index for image in more}


def test_lines_are_whole_whatever_was_left_behind(tmp_path):
    file = AppendOnlyFile(tmp_path / "lines")
    assert file.lines() == []
    assert not file.path.exists()
    with file:
        file.write("one\ntwo\n")
        # A file that is being written to may be read.
        assert AppendOnlyFile(file.path).lines() == [b"one", b"two"]
        with pytest.raises(ValueError, match="another command is writing"), AppendOnlyFile(file.path):
            pass
    with file.path.open("ab") as torn:
        torn.write(b"thr")
    before = file.path.read_bytes()
    assert AppendOnlyFile(file.path).lines() == [b"one", b"two"]
    assert file.path.read_bytes() == before
    with file:
        file.write("three\n")
    assert file.path.read_bytes() == b"one\ntwo\nthree\n"
