"""The command: files that others read, exact resumption, and one line for what is wrong."""

import json

import pytest
from PIL import Image
from pyarrow import parquet
from vl_core.data import open_dataset
from vl_vlm import make_scenes, open_captions
from vl_vlm.cli import main
from vl_vlm.commands import scenes as command


def lines(out):
    return [json.loads(line) for line in (out / "images/metadata.jsonl").read_text(encoding="utf-8").splitlines()]


def content(out):
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_folder_holds_every_image_with_its_captions_and_factors(tmp_path, capsys):
    arguments = ["scenes", "--count", "12", "--size", "32", "--split", "held_out", "--seed", "4", "--negatives"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    expected = make_scenes(12, size=32, split="held_out", seed=4, negatives=True)
    found = lines(tmp_path)
    for item, facts, line in zip(expected, expected.metadata, found, strict=True):
        assert Image.open(tmp_path / "images" / line["file_name"]).tobytes() == item.image.tobytes()
        assert (line["text"], line["captions"]) == (item.captions[0], list(item.captions))
        assert {name: line[name] for name in facts} == facts
    assert (tmp_path / "scenes.png").read_bytes()[:4] == b"\x89PNG"
    captions = sum(len(item.captions) for item in expected)
    assert f"12 scenes with {captions} captions: 12 new" in capsys.readouterr().out


def test_parquet_files_hold_the_same_and_are_opened_as_images(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_ROWS", 5)
    assert main(["scenes", "--count", "12", "--format", "parquet", "--kinds", "counts", "--out", str(tmp_path)]) == 0
    expected = make_scenes(12, size=64, kinds=["counts"])
    paths = sorted((tmp_path / "parquet").iterdir())
    assert [len(open_dataset(str(path))) for path in paths] == [5, 5, 2]
    opened = open_dataset(str(paths[1]))
    assert opened[3][0].tobytes() == expected[8].image.tobytes()
    assert opened.captions[3] == expected[8].captions[0]
    rows = parquet.read_table(paths[1]).to_pylist()
    assert rows[3]["captions"] == list(expected[8].captions)
    assert rows[3]["counts"] == expected.metadata[8]["counts"]


@pytest.mark.parametrize(("form", "place"), [("folder", "images"), ("parquet", "parquet")])
def test_what_is_written_is_opened_with_all_captions(form, place, tmp_path, capsys):
    assert main(["scenes", "--count", "5", "--format", form, "--out", str(tmp_path)]) == 0
    assert f"wrote {tmp_path / place}, a data set" in capsys.readouterr().out
    opened, expected = open_captions(str(tmp_path / place), progress=False), make_scenes(5, size=64)
    assert opened.captions == expected.captions
    assert [item.image.tobytes() for item in opened] == [item.image.tobytes() for item in expected]


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_a_run_that_was_stopped_ends_with_the_same_files(form, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "_ROWS", 3)
    arguments = ["scenes", "--count", "8", "--size", "24", "--format", form, "--out"]
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    drawn, png = [], command._png

    def stopping(item):
        if len(drawn) == 5:
            raise KeyboardInterrupt
        drawn.append(item.name)
        return png(item)

    monkeypatch.setattr(command, "_png", stopping)
    assert main([*arguments, str(tmp_path / "stopped")]) != 0
    monkeypatch.setattr(command, "_png", png)
    capsys.readouterr()
    place = tmp_path / "stopped" / ("images" if form == "folder" else form)
    (place / f".half.{'0' * 12}.tmp").write_bytes(b"of a process that was killed")
    assert main([*arguments, str(tmp_path / "stopped"), "--workers", "1"]) == 0
    assert f"{3 if form == 'folder' else 5} new" in capsys.readouterr().out
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")
    assert main([*arguments, str(tmp_path / "stopped")]) == 0
    assert ": 0 new" in capsys.readouterr().out


def test_a_folder_of_other_scenes_is_left_alone(tmp_path, capsys):
    assert main(["scenes", "--count", "2", "--out", str(tmp_path / "first")]) == 0
    before = content(tmp_path / "first")
    assert main(["scenes", "--count", "2", "--seed", "1", "--out", str(tmp_path / "first")]) == 2
    error = capsys.readouterr().err
    assert "holds a run with another configuration: seed" in error
    assert error.count("\n") == 1
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.png").write_bytes(b"")
    assert main(["scenes", "--out", str(tmp_path / "photos")]) == 2
    assert "holds files but no config.json" in capsys.readouterr().err
    assert content(tmp_path / "first") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "8"], "--size must be from 16 to 1024, got 8"),
        (["--count", "0"], "--count must be from 1 to 1000000, got 0"),
        (["--kinds", "counts", "counts"], "--kinds must be some of attributes, relations, counts, each once"),
        (["--split", "val"], "--split must be one of train, test, held_out, got 'val'"),
        (["--format", "tar"], "--format must be one of folder, parquet, got 'tar'"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["scenes", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
