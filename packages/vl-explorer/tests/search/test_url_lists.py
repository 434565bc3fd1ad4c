"""Search in Parquet files of addresses with captions."""

import asyncio

import pyarrow as pa
import pytest
from pyarrow import parquet
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.search.url_lists import UrlListEngine


def write(path, captions, start=0, group=7, **columns):
    """A list in row groups of a few rows."""
    addresses = [f"https://images.example/{start + number}.jpg" for number in range(len(captions))]
    table = {"URL": addresses, "TEXT": captions, "WIDTH": [640] * len(captions), **columns}
    parquet.write_table(pa.table(table), path, row_group_size=group)
    return path


def found(engine, query, count=100):
    page = asyncio.run(engine.search(query, count))
    return [result.url.rpartition("/")[2] for result in page.results], page.exhausted


CAPTIONS = [f"photo {'of a red fox' if number % 5 == 0 else 'of a dog'} number {number}" for number in range(40)]


def test_lists_are_searched_as_captions_are(tmp_path):
    write(tmp_path / "a.parquet", CAPTIONS[:25])
    write(tmp_path / "b.parquet", CAPTIONS[25:], start=25)
    engine = UrlListEngine(tmp_path)
    beside = asyncio.run(CaptionEngine(CAPTIONS).search("foxes 30", 100))
    assert found(engine, "foxes 30")[0] == [f"{result.url.rpartition('/')[2]}.jpg" for result in beside.results]
    result = asyncio.run(engine.search("foxes 30", 1)).results[0]
    assert (result.title, result.width, result.height, result.identifier) == (CAPTIONS[30], 640, 0, "30")
    assert found(engine, "fox", 3) == (["0.jpg", "5.jpg", "10.jpg"], False)
    assert found(engine, "fox", 8)[1]
    assert "many are gone" in engine.describe()


def test_rows_without_address_or_caption_are_never_found_and_addresses_once(tmp_path):
    columns = {
        "URL": [None, "ftp://x", "https://a.example/1.jpg", "https://a.example/1.jpg", "https://a.example/2.jpg"]
    }
    captions = ["fox", "fox", "fox", "fox", None]
    path = write(tmp_path / "a.parquet", captions, **columns)
    assert found(UrlListEngine(path), "fox", 1) == (["1.jpg"], True)


def test_columns_have_other_names(tmp_path):
    table = pa.table({"link": ["https://a.example/1.jpg"], "alt": pa.array(["fox"], pa.large_string())})
    parquet.write_table(table, tmp_path / "a.parquet")
    engine = UrlListEngine([tmp_path / "a.parquet"], columns={"url": "link", "title": "alt"}, name="mine")
    assert (engine.name, found(engine, "fox")) == ("mine", (["1.jpg"], True))


def cut(path):
    content = write(path, CAPTIONS).read_bytes()
    path.write_bytes(content[: len(content) // 2] + content[-100:])
    return path


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda path: UrlListEngine(path), FileNotFoundError, "a.parquet"),
        (lambda path: UrlListEngine(path.parent), FileNotFoundError, "no Parquet file in"),
        (lambda path: UrlListEngine([]), FileNotFoundError, "no Parquet file in no paths"),
        (lambda path: UrlListEngine(cut(path)), ValueError, "is not a whole Parquet file"),
        (lambda path: UrlListEngine(write(path, ["a"]), columns={"title": "alt"}), ValueError, "'alt', got TEXT, URL"),
        (lambda path: UrlListEngine(write(path, ["a"]), columns={"alt": "TEXT"}), ValueError, "columns must be of url"),
    ],
)
def test_lists_that_are_none_are_refused(tmp_path, make, kind, words):
    with pytest.raises(kind, match=words):
        make(tmp_path / "a.parquet")
