"""Descriptions of services that are none, with what the message says."""

import json

import pytest
from explorer_api_server import MUSEUM
from explorer_engines import search
from vl_explorer.search.json_engine import JsonEngine

ABSENT = object()


def changed(path, value):
    """The description with another value at a path."""
    content = json.loads(json.dumps(MUSEUM))
    *above, last = path.split(".")
    part = content
    for name in above:
        part = part[name]
    if value is ABSENT:
        del part[last]
    else:
        part[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("name", ABSENT, "description must have 'name', got address, parameters"),
        ("name", "a/b", "name must be of the form"),
        ("name", 3, "name must be a text, got int"),
        ("unknown", 3, "description may have name, .*, got 'unknown'"),
        ("address", "http://api.museum.example/", "must begin with https://"),
        ("address", "https://api.museum.example/?key=1", "no user, query or fragment"),
        ("parameters", [], "parameters must be an object, got list"),
        ("parameters.q", 3, "parameters.q must be a text, got int"),
        ("parameters.q", "{text}", r"parameters.q may hold \{query\}, .*, got \{text\}"),
        ("parameters.q", "fixed", r"parameters must hold \{query\}"),
        ("parameters.page", "1", r"parameters must hold \{page\} where paging.kind is 'page'"),
        ("results", "data..items", "results must be names or list positions with dots between"),
        ("results", "", "results must be names"),
        ("fields", {}, "fields must have 'url', got nothing"),
        ("fields.image", "x", "fields may have url, .*, got 'image'"),
        ("fields.url", None, "fields.url must be a text, got NoneType"),
        ("paging.kind", "cursor", "paging.kind must be one of page, offset, none, got 'cursor'"),
        ("paging.first", -1, "paging.first must be a whole number of at least 0, got -1"),
        ("key.header", "X Key", "key.header must be of the form"),
        ("key.environment", "MY-KEY", "key.environment must be of the form"),
        ("key.value", "s3cret", "key may have header, environment, prefix, got 'value'"),
        ("key.prefix", "a\r\nb", "key.prefix must be a text"),
        ("limits.results_per_page", 0, "limits.results_per_page must be a whole number of at least 1, got 0"),
        ("limits.depth", 10, "limits.depth must be a whole number of at least 20, got 10"),
        ("limits.requests_per_second", 0, "limits.requests_per_second must be a finite number of at least 1e-06"),
        ("limits.cost_per_request", "free", "limits.cost_per_request must be a finite number"),
        ("limits.retires", "soon", "limits.retires must be a date such as 2027-01-31, got 'soon'"),
        ("limits.needs_key", True, "limits may have .*, got 'needs_key'"),
    ],
)
def test_what_is_no_description_is_refused_by_its_entry(path, value, words):
    with pytest.raises(ValueError, match=words):
        JsonEngine(changed(path, value))


def test_descriptions_are_read_from_files(tmp_path):
    path = tmp_path / "museum.json"
    path.write_text(json.dumps(MUSEUM))
    assert JsonEngine(path).limits == JsonEngine(MUSEUM).limits
    path.write_text("[")
    with pytest.raises(ValueError, match=r"museum\.json"):
        JsonEngine(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="description must be an object, got list"):
        JsonEngine(path)


def test_a_query_with_braces_stays_as_it_is():
    _, requests = search("museum", 1, query="{page} of {query}")
    assert requests[0].params["q"] == "{page} of {query}"
