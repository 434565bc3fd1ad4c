"""Refusals, faults and repetitions of services, what no engine takes, and that no key is ever seen."""

import asyncio
import json
import logging
import pickle
from datetime import date

import explorer_api_server as services
import pytest
from explorer_api_server import KEY, Drop, Reply, Stall
from explorer_engines import CASES, Time, running, search
from vl_explorer.search.brave import BraveEngine
from vl_explorer.search.commons import CommonsEngine
from vl_explorer.search.engine import SearchError
from vl_explorer.search.flickr import FlickrEngine
from vl_explorer.search.http.budget import Budget
from vl_explorer.search.http.settings import RequestSettings
from vl_explorer.search.json_engine import JsonEngine
from vl_explorer.search.openverse import OpenverseEngine
from vl_explorer.search.registry import ENGINE_NAMES, build_engine

NAMES = list(CASES)
QUICK = RequestSettings(max_bytes=200_000, max_seconds=0.3)
BODIES = [
    ("empty", Reply(b""), "malformed", "not JSON|JSON"),
    ("text", Reply(b"<html>Hello</html>"), "malformed", "JSON"),
    ("cut", Reply(b'{"results": [{"url": "https://a'), "malformed", "JSON"),
    ("list", Reply([]), "malformed", "must be an object, got list"),
    ("null", Reply(b"null"), "malformed", "must be an object, got NoneType"),
    ("nothing known", Reply({"unknown": 1}), "malformed", "must|stat"),
    ("not UTF-8", Reply(b'{"a": "\xff"}'), "malformed", "UTF-8"),
    ("deep", Reply(b"[" * 50_000 + b"]" * 50_000), "malformed", "nested|JSON|list"),
    ("deep object", Reply(b'{"a":' * 700 + b"1" + b"}" * 700), "malformed", "nested|must|stat"),
    ("huge by declaration", Reply(b"{}", length=10**10), "malformed", "at most 200,000 bytes"),
    ("huge", Reply(b" " * 300_000), "malformed", "at most 200,000 bytes"),
    ("compressed", Reply(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "malformed", "compressed, got 'gzip'"),
    ("shorter than declared", Reply(b"{}", length=100), "unreachable", "RemoteProtocolError.*4 times"),
    ("dropped", Drop, "unreachable", "4 times in a row; try again later"),
    ("stalled", Stall, "unreachable", "no complete answer within 0.3 seconds, 4 times"),
    ("status 500", Reply(b"oops", 500), "unreachable", "status 500, 4 times"),
    ("status 503 for long", Reply({}, 503, {"Retry-After": "900"}), "unreachable", "asks to wait 900 seconds"),
    ("throttled", Reply({"detail": "slow"}, 429), "throttled", "status 429, slow, 4 times"),
    ("throttled for long", Reply({}, 429, {"Retry-After": "3600"}), "throttled", "wait 3,600 seconds, try again then"),
    ("unauthorized", Reply({"message": f"no {KEY}"}, 401), "unauthorized", "status 401"),
    ("forbidden", Reply(b"", 403), "unauthorized", "status 403"),
    ("payment", Reply({}, 402), "spent", "status 402"),
    ("not found", Reply({}, 404), "refused", "status 404"),
    ("query too long", Reply({"detail": "q is too long"}, 400), "malformed", "status 400, q is too long"),
    ("elsewhere", Reply({}, 302, {"Location": "http://169.254.169.254/"}), "refused", "status 302"),
    ("no content", Reply(b"", 204), "refused", "status 204"),
]


@pytest.mark.parametrize("name", ["openverse", "flickr", "museum"])
@pytest.mark.parametrize(("reply", "reason", "words"), [body[1:] for body in BODIES], ids=[body[0] for body in BODIES])
def test_what_a_service_does_wrong_has_its_reason(name, reply, reason, words):
    with pytest.raises(SearchError, match=words) as caught:
        search(name, 5, service=lambda request: reply, settings=QUICK)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{name}: ")
    assert caught.value.partial.results == ()


WRONG = [3, "text", None, {}, [3], [None], [{}, {"unknown": 1}]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_results_of_another_type_are_malformed(name, wrong):
    content = {
        "page_count": 1,
        "results": wrong,
        "query": {"pages": wrong},
        "photos": {"pages": 1, "photo": wrong},
        "stat": "ok",
        "images_results": wrong,
        "data": {"items": wrong},
    }
    with pytest.raises(SearchError, match=r"must be a list|none of 2 results has an address") as caught:
        search(name, 5, service=lambda request: content)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize("name", NAMES)
def test_fields_of_another_type_are_as_good_as_absent(name):
    def broken(value):
        if isinstance(value, dict):
            kept = ("url", "url_q", "original", "src", "imageinfo", "image", "properties", "index")
            return {key: part if key in kept else ["?"] for key, part in value.items()}
        return value

    def answer(request):
        text = json.dumps(CASES[name].service(3)(request))
        return json.loads(text, object_hook=lambda part: broken(part) if "title" in part or "caption" in part else part)

    page, _ = search(name, 3, service=answer)
    assert len(page.results) == 3
    assert all(result.url.startswith("https://") for result in page.results)
    assert {result.title for result in page.results} == {""}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("trouble", "waited"),
    [
        (Reply({}, 429, {"Retry-After": "7"}), 7.0),
        (Reply({}, 429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), 1.0),
        (Reply(b"oops", 503), 1.0),
        (Drop, 1.0),
    ],
)
def test_passing_trouble_is_waited_out(name, trouble, waited):
    time = Time()
    page, requests = search(name, 3, first=[trouble], pacer=time.pacer())
    assert (len(page.results), page.requests, len(requests)) == (3, 2, 2)
    assert time.slept == [waited]


def test_waits_double_up_to_a_limit():
    time = Time()
    settings = RequestSettings(tries=5, first_wait=3.0, longest_wait=10.0)
    with pytest.raises(SearchError, match="5 times in a row"):
        search("openverse", 3, service=lambda request: Reply({}, 500), pacer=time.pacer(), settings=settings)
    assert time.slept == [3.0, 6.0, 10.0, 10.0]


LEAKS = [
    Reply({"error": f"bad key {KEY}", "message": f"bad {KEY}", "detail": KEY}, 401),
    Reply({"error": KEY, "stat": "fail", "code": 100, "message": f"Invalid API Key {KEY}"}),
    Reply(f"<html>{KEY}</html>".encode()),
    Reply({"message": KEY}, 429, {"Retry-After": "9999"}),
    Reply({KEY: KEY, "results": KEY, "stat": KEY, "query": KEY}),
    Reply({}, 302, {"Location": f"https://example.org/?api_key={KEY}"}),
    Drop,
]


@pytest.mark.parametrize("name", [*NAMES, "openverse with a token"])
@pytest.mark.parametrize("reply", LEAKS)
def test_no_key_is_seen_in_errors_logs_or_representations(name, reply, caplog, monkeypatch):
    if name.endswith("token"):
        monkeypatch.setenv("OPENVERSE_TOKEN", KEY)
    caplog.set_level(logging.DEBUG)

    async def failed():
        async with running(name.split()[0], service=lambda request: reply) as (engine, server):
            with pytest.raises(SearchError) as caught:
                await engine.search("red fox", 3)
            logging.getLogger("hpack.hpack").debug("Adding %s", (b":path", f"/?api_key={KEY}".encode()))
            sent = any(KEY in str(vars(request)) for request in server.requests)
            return caught.value, engine, sent

    error, engine, sent = asyncio.run(failed())
    assert sent == (name not in ("openverse", "commons"))
    seen = [str(error), repr(error), repr(error.__cause__), repr(engine), repr(vars(engine)), engine.describe()]
    if sent:
        seen += [record.getMessage() + str(record.args) for record in caplog.records]
        assert KEY not in " ".join(seen)
        with pytest.raises(TypeError, match="is not written to files"):
            pickle.dumps(engine._key)


def test_a_key_in_a_result_is_hidden():
    echo = {"data": {"items": [{"image": [{"src": f"https://images.example/a.jpg?key={KEY}"}], "caption": KEY}]}}
    page, _ = search("museum", 1, service=lambda request: echo)
    assert KEY not in repr(page)
    assert page.results[0].url == "https://images.example/a.jpg?key=***"


@pytest.mark.parametrize(
    "spell",
    [
        lambda key: key.replace("/", r"\/").replace('"', r"\""),
        lambda key: "".join(f"\\u{ord(character):04x}" for character in key),
    ],
)
def test_a_key_that_json_spells_in_another_way_is_hidden(spell, monkeypatch):
    key = 's3cr/etKEY/"12345678'
    monkeypatch.setenv("MUSEUM_KEY", key)
    body = '{"error": "key KEY is not known"}'.replace("KEY", spell(key)).encode()
    with pytest.raises(SearchError, match=r"status 401, key \*\*\* is not known"):
        search("museum", 1, service=lambda request: Reply(body, 401))
    items = '{"data": {"items": [{"image": [{"src": "https://images.example/a.jpg"}], "caption": "a KEY"}]}}'
    body = items.replace("KEY", spell(key)).encode()
    page, _ = search("museum", 1, service=lambda request: Reply(body))
    assert page.results[0].title == "a ***"


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: CommonsEngine(), ValueError, "contact must be a mail address or a web page for commons, got none"),
        (lambda: CommonsEngine(contact="Ann"), ValueError, "contact must be a mail address or a web page, got 'Ann'"),
        (lambda: CommonsEngine(contact="a@b.org\r\nX: 1"), ValueError, "contact must be"),
        (lambda: OpenverseEngine(page_size=21), ValueError, r"page_size of openverse must be .* in 1\.\.20, got 21"),
        (lambda: FlickrEngine(page_size=True), ValueError, "page_size of flickr"),
        (lambda: BraveEngine(address="http://api.example.org/"), ValueError, "must begin with https://"),
        (lambda: BraveEngine(address="ftp://127.0.0.1/"), ValueError, "must begin with https://"),
        (
            lambda: BraveEngine(address="https://ann:secret@example.org/"),
            ValueError,
            "no user, query or fragment; give",
        ),
        (lambda: BraveEngine(address="https://example.org/?key=1"), ValueError, "no user, query or fragment; give"),
        (lambda: BraveEngine(address="https://"), ValueError, "address of brave"),
        (lambda: BraveEngine(address=3), ValueError, "must be an address of the web, got 3"),
        (lambda: Budget(-1), ValueError, "max_requests must be at least 0, got -1"),
        (lambda: Budget(max_cost=float("nan")), ValueError, "max_cost must be a finite number"),
        (lambda: Budget(cost=-0.1), ValueError, "cost must be"),
        (lambda: RequestSettings(tries=0), ValueError, "tries must be a whole number of at least 1, got 0"),
        (lambda: RequestSettings(max_seconds=0), ValueError, "max_seconds must be"),
        (lambda: RequestSettings(longest_wait=float("inf")), ValueError, "longest_wait must be"),
        (lambda: Time().pacer(0), ValueError, "requests_per_second must be above 0"),
        (lambda: build_engine("bing"), ValueError, "ended on 2025-08-11; use one of captions, openverse"),
        (lambda: build_engine("google"), ValueError, "takes no new customers and ends on 2027-01-01"),
        (lambda: build_engine("altavista"), ValueError, "engine must be one of captions, .*, got 'altavista'"),
    ],
)
def test_what_no_engine_takes_is_refused(make, kind, words):
    with pytest.raises(kind, match=words) as caught:
        make()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "short", "with space in it", "unprintable\x01\x02"])
def test_a_missing_or_broken_key_is_named_by_its_variable(monkeypatch, value):
    monkeypatch.setenv("FLICKR_API_KEY", value)
    with pytest.raises(SearchError, match=r"flickr: .*FLICKR_API_KEY") as caught:
        FlickrEngine()
    assert caught.value.reason == "unauthorized"
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "count", "words"),
    [
        ("", 1, "query must be text"),
        (" \t", 1, "query must be text"),
        ("a\x00b", 1, "query must be text"),
        ("\ud800", 1, "query must be text"),
        (None, 1, "query must be text"),
        ("fox", 0, "count must be a whole number of at least 1, got 0"),
        ("fox", True, "count must be"),
        ("fox", 2.0, "count must be"),
    ],
)
def test_queries_and_counts_are_checked_before_anything_is_sent(query, count, words):
    async def refused():
        async with running("openverse") as (engine, server):
            with pytest.raises(ValueError, match=words):
                await engine.search(query, count)
            return server.requests

    assert asyncio.run(refused()) == []


def test_a_closed_service_is_not_asked():
    closed = {**services.MUSEUM, "limits": {"retires": "2025-08-11", "checked": "2025-01-31"}}
    engine = JsonEngine(closed)
    assert "closes on 2025-08-11; checked 2025-01-31" in engine.describe()
    assert engine.limits.retires == date(2025, 8, 11)
    with pytest.raises(SearchError, match="museum: closed since 2025-08-11") as caught:
        asyncio.run(engine.search("fox", 1))
    assert caught.value.reason == "refused"


def test_engines_are_made_by_name(tmp_path):
    for name in ENGINE_NAMES:
        if name in ("captions", "url-list", "json"):
            continue
        options = {"contact": "https://example.org/explorer"} if name == "commons" else {}
        assert build_engine(name, **options).name == name
    path = tmp_path / "museum.json"
    path.write_text(json.dumps(services.MUSEUM))
    assert build_engine("json", path).name == "museum"
