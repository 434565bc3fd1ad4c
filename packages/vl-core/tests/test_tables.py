"""Tables of a command: CSV and Parquet files that are whole, and columns for the terminal."""

import csv
from dataclasses import dataclass

import numpy as np
import pytest
from pyarrow import parquet
from vl_core import tables
from vl_core.tables import open_csv, text_table, write_parquet, write_rows


@dataclass
class Row:
    name: str
    share: float
    count: int


def test_rows_of_dataclasses_and_of_mappings_are_one_file(tmp_path):
    rows = [Row("a,b", 1 / 3, 2), Row("c", 1e-9, 10**7)]
    write_rows(tmp_path / "new" / "fields.csv", rows)
    write_rows(tmp_path / "keys.csv", [vars(row) for row in rows])
    text = (tmp_path / "keys.csv").read_text()
    assert text == 'name,share,count\n"a,b",0.333333,2\nc,1e-09,10000000\n'
    assert (tmp_path / "new" / "fields.csv").read_text() == text


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "at least one row for x.csv"), ([{"a": 1}, {"b": 1}], r"columns of the first, \['a'\], got \['b'\]")],
)
def test_rows_that_make_no_table_are_refused_and_the_file_stays(rows, message, tmp_path):
    (tmp_path / "x.csv").write_text("before")
    with pytest.raises(ValueError, match=message):
        write_rows(tmp_path / "x.csv", rows)
    assert (tmp_path / "x.csv").read_text() == "before"


@pytest.mark.parametrize("text", ["a\r\nb", "a\rb", "\r", "\n", 'a"b', "a,b", " ", "é"])
def test_any_text_comes_back_from_a_cell(text, tmp_path):
    with open_csv(tmp_path / "x.csv") as write:
        write([text, 1])
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [[text, "1"]]


def test_bytes_that_are_not_utf8_are_escaped(tmp_path):
    name = b"\xff.png".decode(errors="surrogateescape")
    write_rows(tmp_path / "x.csv", [{"name": name}])
    assert (tmp_path / "x.csv").read_text() == "name\n\\udcff.png\n"


def test_a_parquet_file_written_in_groups_is_the_same(tmp_path, monkeypatch):
    columns = {"name": list("abcde"), "value": np.arange(5.0), "list": np.arange(10).reshape(5, 2)}
    write_parquet(tmp_path / "whole.parquet", columns, metadata={"classes": "[]"})
    monkeypatch.setattr(tables, "_ROWS_PER_GROUP", 2)
    write_parquet(tmp_path / "parts.parquet", columns, metadata={"classes": "[]"})
    whole, parts = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("whole", "parts"))
    assert parts.equals(whole, check_metadata=True)
    assert parquet.ParquetFile(tmp_path / "parts.parquet").num_row_groups == 3
    assert whole.column("list").to_pylist()[1] == [2, 3]
    assert whole.schema.metadata[b"classes"] == b"[]"


def test_columns_of_text_are_aligned_and_stay_on_their_lines():
    lines = text_table(["a", "b", "share"], [["x\ny", "é", "1"], ["z", "long one", "12.5"]], left=2).splitlines()
    assert lines == [
        "a     b         share",
        "----  --------  -----",
        "x\\ny  é             1",
        "z     long one   12.5",
    ]
