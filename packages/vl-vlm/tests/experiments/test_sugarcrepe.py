"""The table on the page is that of the committed rows, and a row is that of the script."""

from __future__ import annotations

import json

import pytest
import sugarcrepe
from vl_core.results import read_rows
from workspace import ROOT

PAGE = ROOT / "packages/vl-vlm/docs/evaluation.md"


def test_the_table_is_on_the_page():
    assert sugarcrepe.table(read_rows(sugarcrepe.ROWS)) in PAGE.read_text(encoding="utf-8")


def test_rows_are_those_of_the_word_counts(tmp_path):
    pairs = [("a dog", "a dog in a hat"), ("a cat", "cat a")]  # the shorter text is likelier; the same words tie
    items = {str(n): {"caption": right, "negative_caption": wrong} for n, (right, wrong) in enumerate(pairs)}
    (tmp_path / "add_obj.json").write_text(json.dumps(items))
    (row,) = sugarcrepe.rows(tmp_path)
    assert (row["category"], row["items"]) == ("add_obj", 2)
    assert (row["value"], row["official"], row["tie_rate"]) == (pytest.approx(0.75), 0.5, 0.5)
