"""Results on disk: found by their ids without being read, and said to be damaged where they are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet
from vl_core.runs.append_only import AppendOnlyFile
from vl_diffusion import CallableDenoiser, DiffusionClassifier, Exhaustive, NoiseSchedule
from vl_diffusion.runs import result_log as journal
from vl_diffusion.runs.result_log import ResultIndex, ResultLog
from vl_diffusion.runs.tables import classification_table, write_classification_parquet

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def result():
    schedule = NoiseSchedule.from_config({"beta_schedule": "linear"})
    denoiser = CallableDenoiser(
        lambda x, time, label: x * label.view(-1, 1, 1, 1), schedule, image_size=4, image_channels=1, classes=CLASSES
    )
    images = [np.full((4, 4), value, np.uint8) for value in range(5)]
    return DiffusionClassifier(denoiser, search=Exhaustive(2)).classify(images, image_ids=[7, -3, 0, 2**62, 5])


@pytest.fixture
def folder(result, tmp_path):
    with ResultLog(tmp_path / ResultLog.name(0)) as file:
        file.append(result)
    return tmp_path


def test_results_come_back_in_any_order(result, folder):
    found = ResultIndex(folder, CLASSES).collect([0, 7, 0])
    for name in ("image_ids", "errors", "draws", "predictions", "probabilities"):
        np.testing.assert_array_equal(getattr(found, name), getattr(result, name)[[2, 0, 2]])
        assert getattr(found, name).dtype == getattr(result, name).dtype


def test_ids_are_known_without_reading_what_belongs_to_them(folder, monkeypatch):
    monkeypatch.setattr(journal.json, "loads", lambda text: pytest.fail("a line is parsed"))
    finished = ResultIndex(folder, CLASSES)
    assert 2**62 in finished
    assert -3 in finished
    assert 8 not in finished


def test_the_last_word_of_a_image_counts(result, folder):
    row = json.loads(AppendOnlyFile(folder / ResultLog.name(0)).lines()[0])
    with ResultLog(folder / ResultLog.name(1)) as file:
        file.write(json.dumps(row | {"num_values": 9}) + "\n")
    assert ResultIndex(folder, CLASSES).collect([7, 5]).num_values.tolist() == [9, 16]


@pytest.mark.parametrize("name", ["errors", "draws", "predictions"])
def test_a_list_of_another_length_is_damage_in_a_line(name, folder):
    path = folder / ResultLog.name(0)
    rows = [json.loads(line) for line in AppendOnlyFile(path).lines()]
    rows[3][name] = [1, 2]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    finished = ResultIndex(folder, CLASSES)
    assert len(finished.collect([7, 5])) == 2
    with pytest.raises(ValueError, match=rf"results\.jsonl, line 4 is damaged \({name} must have shape"):
        finished.collect([7, 2**62])


@pytest.mark.parametrize("block", [1, 7, 2**20])
def test_a_line_that_was_cut_off_gives_way(block, folder, monkeypatch):
    monkeypatch.setattr("vl_core.runs.append_only._BLOCK", block)
    path = folder / ResultLog.name(0)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"image_ids": 9, "err')
    with AppendOnlyFile(path) as file:
        file.write("next\n")
    assert path.read_bytes() == whole + b"next\n"
    path.write_bytes(b"no line at all")
    with AppendOnlyFile(path) as file:
        file.write("first\n")
    assert file.lines() == [b"first"]


def test_a_table_written_in_groups_is_the_same(result, tmp_path, monkeypatch):
    names, truths = ["1", "2", "3", "4", "5"], [None, None, None, "a", "b"]
    write_classification_parquet(tmp_path / "whole.parquet", names, truths, result)
    monkeypatch.setattr("vl_core.tables._ROWS_PER_GROUP", 2)
    write_classification_parquet(tmp_path / "parts.parquet", names, truths, result)
    whole, parts = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("whole", "parts"))
    assert parts.equals(whole, check_metadata=True)
    assert parquet.ParquetFile(tmp_path / "parts.parquet").num_row_groups == 3


def test_a_name_with_a_line_break_is_a_line_of_the_table(result):
    renamed = replace(result, classes=("a\nb", "b", "c"))
    lines = classification_table(["1", "2", "3\t4", "5", "é ü"], [None] * 4 + ["a\nb"], renamed).splitlines()
    assert len(lines) == 2 + 5 + 1
    assert lines[4].startswith("3\\t4")
    assert lines[6].startswith("é ü    a\\nb  ")


@pytest.mark.parametrize("line", ['{"image_ids": ' + "9" * 5000 + ", ", '{"image_ids": 8, "errors": ' + "[" * 5000])
def test_a_line_that_no_parser_takes_is_named(folder, line):
    path = folder / ResultLog.name(0)
    path.write_text(line + "\n" + path.read_text())
    with pytest.raises(ValueError, match=r"results\.jsonl, line 1 is damaged"):
        ResultIndex(folder, CLASSES).collect([8])
