"""Shares of images that the demo warns of, and the table of the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import unfamiliar
from vl_core.results import read_rows

PAGE = unfamiliar.RESULTS.parents[1] / "docs/results.md"


def test_the_page_shows_the_committed_rows() -> None:
    shown = re.findall(r"^\| (.+) \| (\d+) of (\d+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    rows = [(row["images_of"], row["warned"], row["images"]) for row in read_rows(unfamiliar.RESULTS)]
    assert shown == [(kind.replace("gaussian_noise", "Gaussian noise"), *counts) for kind, *counts in rows]


def test_a_row_for_each_kind_of_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "unfamiliar.csv"
    monkeypatch.setattr(unfamiliar, "REFERENCES", 50)
    monkeypatch.setattr("sys.argv", ["unfamiliar.py", "--out", str(out), "--count", "4"])
    unfamiliar.main()
    rows = {row["images_of"]: row for row in read_rows(out)}
    assert len(rows) == 8
    assert rows["uniform noise"]["warned"] == "4"
    assert rows["clothes, inverted"]["images"] == "4"
