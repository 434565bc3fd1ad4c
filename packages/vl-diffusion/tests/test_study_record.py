"""The record of a study: what is appended is read again, and damage is named."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from vl_diffusion.studies.record import StudyRecord
from vl_diffusion.studies.search_comparison import Finding


@dataclass(frozen=True)
class Result:
    label: int


@pytest.fixture
def path(tmp_path):
    with StudyRecord(tmp_path / "record.jsonl", Result) as record:
        record.append([7, -3], {"first": [Result(1), Result(2)], "second": [Result(3), Result(4)]}, seconds=1.5)
        record.append([-3], {"first": [Result(5)]}, seconds=0.25, evaluations=2)
    return tmp_path / "record.jsonl"


def test_a_record_is_read_as_it_was_appended(path):
    record = StudyRecord(path, Result)
    # Of an image that occurs twice in a run, the last result counts.
    assert record.of("first") == {7: Result(1), -3: Result(5)}
    assert record.of("second") == {7: Result(3), -3: Result(4)}
    assert record.of("third") == {}
    assert (record.total("seconds"), record.total("evaluations"), record.total("energy")) == (1.75, 2, 0)


def test_an_incomplete_last_line_gives_way_to_the_next_group(path):
    with path.open("a") as file:
        file.write('{"image_ids": [1')
    with StudyRecord(path, Result) as record:
        assert set(record.of("first")) == {7, -3}
        record.append([1], {"first": [Result(6)]})
    assert StudyRecord(path, Result).of("first")[1] == Result(6)


@pytest.mark.parametrize(
    "line",
    [
        "{]",
        "[]",
        '{"image_ids": [1], "totals": {}}',
        '{"image_ids": [1], "results": {"first": []}, "totals": {}}',
        '{"image_ids": [1], "results": {"first": [{"name": 1}]}, "totals": {}}',
        '{"image_ids": [1], "results": {}, "totals": {"seconds": 1' + "0" * 400 + "}}",
        "[" * 5000,
    ],
)
def test_a_damaged_line_is_named(path, line):
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=r"record\.jsonl, line 3 is damaged .*; delete the line or the file"):
        StudyRecord(path, Result)


def test_a_number_that_is_none_is_named(path):
    line = json.dumps({"image_ids": [1], "results": {"racing": [one("many")]}, "totals": {}})
    path.write_text(line + "\n")
    with pytest.raises(
        ValueError, match=r"record\.jsonl, line 1 is damaged \(evaluations must be of type int, got str\)"
    ):
        StudyRecord(path, Finding)
    path.write_text(json.dumps({"image_ids": [1], "results": {"racing": [one(8)]}, "totals": {}}) + "\n")
    assert StudyRecord(path, Finding).of("racing")[1] == Finding(1, 8, 2)


def one(evaluations):
    return {"prediction": 1, "evaluations": evaluations, "bookkeeping_seconds": 2}
