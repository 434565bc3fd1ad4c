"""The rows of classifiers and the tables of the page, from a few synthetic predictions."""

from __future__ import annotations

from pathlib import Path

import diffusion_tables
import pytest
from vl_core.results import append_row, wilson_interval

ROW = {
    "data": "letters",
    "model": "oracle",
    "seed": 0,
    "truth": [0, 0, 0, 1],
    "predicted": [0, 0, 0, 0],
    "classes": 2,
    "evaluations_per_image": 239.6,
}


def test_a_row_holds_accuracy_over_images_and_over_classes() -> None:
    row = diffusion_tables.classifier_row(**ROW)
    low, high = (f"{100 * end:.2f}" for end in wilson_interval(3, 4))
    assert set(diffusion_tables.COLUMNS) <= set(row)
    assert (row["images"], row["correct"], row["accuracy"]) == (4, 3, "75.00")
    assert (row["low"], row["high"], row["class_accuracy"]) == (low, high, "50.00")
    assert row["evaluations_per_image"] == "240"


def test_the_table_joins_all_files_and_leaves_missing_values_blank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = diffusion_tables.classifier_row(**ROW)
    append_row(tmp_path / "letters.csv", row)
    shared = {name: row[name] for name in diffusion_tables.COLUMNS}
    append_row(tmp_path / "digits.csv", shared | {"candidates": 20, "candidate_seed": 3})
    append_row(tmp_path / "other.csv", {"search": "staged", "accuracy": 90})
    monkeypatch.setattr("sys.argv", ["diffusion_tables.py", "--results", str(tmp_path)])
    diffusion_tables.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[2] == f"| digits | oracle | 3 | 4 | 20 | 75.00 % | {row['low']} to {row['high']} % |  | 240 |"
    assert lines[3] == f"| letters | oracle | 0 | 4 | 2 | 75.00 % | {row['low']} to {row['high']} % | 50.00 % | 240 |"


def test_the_page_shows_the_table_of_the_committed_results() -> None:
    page = (diffusion_tables.RESULTS.parent / "docs/results.md").read_text(encoding="utf-8")
    assert diffusion_tables.table(diffusion_tables.read_results(diffusion_tables.RESULTS)) in page


def test_the_table_of_searches_shows_intervals(tmp_path: Path) -> None:
    row = {"search": "racing", "images": "200", "accuracy": "0.9", "agreement": "0.995"}
    low, high = (f"{100 * end:.1f}" for end in wilson_interval(180, 200))
    row |= {"evaluations_per_image": "1234.5", "cpu_seconds": "0.374"}
    lines = diffusion_tables.search_table([row]).splitlines()
    assert lines[2] == f"| racing | 1,234 | 90.0 % ({low} to {high}) | 99.5 % | 0.37 |"


def test_the_page_shows_the_committed_searches() -> None:
    page = (diffusion_tables.RESULTS.parent / "docs/results.md").read_text(encoding="utf-8")
    rows = diffusion_tables.read_rows(diffusion_tables.RESULTS / "search.csv")
    assert diffusion_tables.search_table(rows) in page
    assert list(rows[0]) == ["search", "images", "accuracy", "agreement", "evaluations_per_image", "cpu_seconds"]
    assert {row["images"] for row in rows} == {"1000"}
