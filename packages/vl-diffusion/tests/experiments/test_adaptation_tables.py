"""The tables of studies of test-time adaptation, from a few synthetic rows and from the committed ones."""

from __future__ import annotations

from pathlib import Path

import adaptation_tables
import pytest
from vl_core.results import append_row

PAGE = adaptation_tables.RESULTS.parents[1] / "docs/test-time-adaptation.md"


def gain(corruption: str, severity: object, method: str, accuracy: float, gained: float) -> dict[str, object]:
    return {
        "corruption": corruption,
        "severity": severity,
        "method": method,
        "accuracy": accuracy,
        "gain": gained,
        "gain_low": gained - 1,
        "gain_high": gained + 1,
        "adapted": 0.25,
        "oracle_accuracy": 0.9,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    study = tmp_path / "few"
    for corruption, severity in (("clean", 0), ("glass_blur", 5), ("all", "all")):
        for method, accuracy, gained in (("source", 0.5, 0.0), ("default", 0.625, 12.5), ("ungated", 0.75, 25.0)):
            append_row(study / "gains.csv", gain(corruption, severity, method, accuracy, gained))
            if corruption != "all":
                cost = {"images": 10, "passes_per_image": 45, "cpu_seconds": 2.5}
                append_row(study / "adapt.csv", {"corruption": corruption, "method": method} | cost)
    return study


def test_a_line_per_cell_shows_gains_with_intervals(folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["adaptation_tables.py", "--results", str(folder.parent)])
    adaptation_tables.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "few"
    assert lines[2] == "| corruption | source | ungated | default | gain, default | adapted | oracle gate |"
    assert lines[4].startswith("| clean | 50.0 | 75.0 | 62.5 | +12.5 (+11.5 to +13.5) | 25 % | 90.0 |")
    assert [line.split(" | ")[0] for line in lines[4:7]] == ["| clean", "| glass blur 5", "| all"]
    assert "| default | +12.5 (+11.5 to +13.5) | 45 | 0.250 |" in lines


@pytest.mark.parametrize("study", sorted(path.parent.name for path in adaptation_tables.RESULTS.glob("*/gains.csv")))
def test_the_page_shows_the_committed_rows(study: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert adaptation_tables.tables(adaptation_tables.RESULTS / study).strip() in page
