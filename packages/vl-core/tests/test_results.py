"""Rows that are added, refused and read back; the interval against SciPy's; the table; where a row came from."""

import subprocess
import sys
from functools import partial
from operator import mul

import pytest
import torch
from scipy.stats import binomtest
from vl_core.results import (
    append_row,
    markdown_table,
    memory_rise,
    provenance,
    quantiles,
    read_rows,
    timed_in_turns,
    wilson_interval,
)


def test_rows_come_back_in_the_order_they_were_added(tmp_path):
    path = tmp_path / "new" / "rows.csv"
    append_row(path, {"name": 'a "b", c', "value": 1.5})
    append_row(path, {"value": "zwei\nZeilen", "name": "ü"})  # columns in another order
    assert read_rows(path) == [{"name": 'a "b", c', "value": "1.5"}, {"name": "ü", "value": "zwei\nZeilen"}]
    assert path.read_text(encoding="utf-8").startswith("name,value\n")


@pytest.mark.parametrize("text", ["a\r\nb", "a\rb", "\r", "a\nb", "\n", 'a"b', '"', "a,b", '\r",\n', " ", ""])
def test_any_text_of_a_cell_outlives_further_rows(tmp_path, text):
    path = tmp_path / "rows.csv"
    rows = [{f"column {text}": text, "value": "1"}, {f"column {text}": "plain", "value": text}]
    for row in rows + rows:
        append_row(path, row)
    assert read_rows(path) == rows + rows


def test_a_file_without_a_last_line_end_is_continued_on_a_line_of_its_own(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2")
    append_row(path, {"a": 3, "b": 4})
    assert path.read_text() == "a,b\n1,2\n3,4\n"


def test_other_columns_are_refused_and_named_and_the_file_stays(tmp_path):
    path = tmp_path / "rows.csv"
    append_row(path, {"a": 1, "b": 2})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"missing: \['b'\], unknown: \['c'\]"):
        append_row(path, {"a": 1, "c": 2})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]


def test_ways_take_turns_after_a_warm_up():
    calls, ticks = [], iter(range(100))
    ways = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    assert timed_in_turns(ways, 3, warmup=2, clock=lambda: next(ticks)) == {"a": [1, 1, 1], "b": [1, 1, 1]}
    assert "".join(calls) == "ab" * 5


def test_quantiles_are_those_of_torch():
    values = torch.rand(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = values.quantile(torch.tensor((0.2, 0.5, 0.8), dtype=torch.float64)).tolist()
    assert quantiles(values.tolist()) == pytest.approx(expected)
    assert quantiles([2.0]) == (2.0, 2.0, 2.0)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_of_a_call_is_measured_without_what_was_there_before():
    # Functions that any process finds, whatever pytest calls this module.
    assert memory_rise(partial, mul, b"x" * (32 << 20), 1) == pytest.approx(0, abs=4)
    assert memory_rise(partial, mul, b"x", 32 << 20) == pytest.approx(32, abs=4)
    with pytest.raises(RuntimeError, match="exit code 1"):
        memory_rise(partial, "many")


@pytest.mark.parametrize(("correct", "total"), [(0, 7), (7, 7), (1, 2), (1826, 2000), (3, 100_000)])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_the_interval_is_scipys(correct, total, level):
    expected = binomtest(correct, total).proportion_ci(level, method="wilson")
    assert wilson_interval(correct, total, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [((3, 2), "3 of 2"), ((-1, 2), "-1 of 2"), ((0, 0), "0 of 0"), ((1, 2, 95), "95 % is 0.95"), ((1, 2, 0), "level")],
)
def test_impossible_counts_and_levels_are_refused(arguments, names):
    with pytest.raises(ValueError, match=names):
        wilson_interval(*arguments)


def test_the_table_keeps_the_chosen_columns_and_escapes_bars():
    rows = [{"model": "a|b", "accuracy": 0.5, "seed": 0}, {"model": "c", "accuracy": 1, "seed": 1}]
    assert markdown_table(rows, ["model", "accuracy"]) == (
        "| model | accuracy |\n| --- | --- |\n| a\\|b | 0.5 |\n| c | 1 |\n"
    )
    with pytest.raises(KeyError, match="speed"):
        markdown_table(rows, ["speed"])


def test_the_command_of_an_interactive_session_is_python(monkeypatch):
    monkeypatch.setattr("sys.argv", [""])
    assert provenance()["command"] == "python"


def test_a_row_knows_where_it_came_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr("sys.argv", [str(tmp_path / "benchmark.py"), "--images", "3"])
    outside = provenance()
    assert outside["command"] == "python benchmark.py --images 3"
    assert outside["torch"] == torch.__version__
    assert outside["hardware"]
    assert outside["commit"] == "unknown"
    identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert head.startswith(provenance()["commit"])
    assert len(provenance()["commit"]) == 10


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"a,b\n1,\xff\n", "is not UTF-8 text"),
        (b"a,b\n1," + b"x" * 200_000, "is not CSV: field larger than field limit"),
        (b"a,b\n1,2\n3\n", "row 2 has 1 cells, expected 2"),
        (b"a,b\n1,2,3\n", "row 1 has 3 cells, expected 2"),
        (b"a,a\n1,2\n", "names a column twice in its header: a, a"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path, content, cause):
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"rows\.csv,? {cause}"):
        read_rows(path)


def test_no_row_is_added_to_a_table_that_cannot_be_read(tmp_path):
    path, content = tmp_path / "rows.csv", b"a,b\n1,\xff\n"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"rows\.csv is not"):
        append_row(path, {"a": 1, "b": 2})
    assert path.read_bytes() == content
