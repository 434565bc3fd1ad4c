"""Rows of the float8 table: counts from the emoji pipeline itself and from a folder of `classify`."""

from __future__ import annotations

from pathlib import Path

import float8_accuracy
import pytest
from vl_core.results import read_rows, wilson_interval
from vl_core.tables import csv_line


def test_a_folder_of_classify_becomes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float8_accuracy, "TABLE", tmp_path / "accuracy.csv")
    answers = [("bag", "bag"), ("coat", "bag"), ("coat", "coat"), ("bag", "bag")]
    lines = [csv_line(["image", "true", "predicted"]), *(csv_line([i, *pair]) for i, pair in enumerate(answers))]
    (tmp_path / "classify.csv").write_text("".join(lines))
    monkeypatch.setattr("sys.argv", ["float8_accuracy.py", "fashion", "--run", str(tmp_path), "--stored", "float8"])
    float8_accuracy.main()
    (row,) = read_rows(tmp_path / "accuracy.csv")
    low, high = (f"{100 * end:.2f}" for end in wilson_interval(3, 4))
    assert (row["correct"], row["images"], row["accuracy"], row["low"], row["high"]) == ("3", "4", "75.00", low, high)
    assert row["commit"]


def test_a_run_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["float8_accuracy.py", "fashion", "--stored", "float8"])
    with pytest.raises(SystemExit):
        float8_accuracy.main()
    assert "needs --run" in capsys.readouterr().err


def test_the_emoji_pipeline_is_measured_with_its_cards_settings() -> None:
    correct, images = float8_accuracy.emoji_counts(float8_accuracy.MODEL, 1)
    assert images == 1
    assert correct in (0, 1)
