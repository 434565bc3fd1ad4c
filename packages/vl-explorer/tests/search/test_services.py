"""Particulars of each service."""

import asyncio
import copy

import pytest
from explorer_api_server import IMAGES, KEY, Reply, commons_page, flickr, openverse, serpapi
from explorer_engines import Time, running, search
from vl_explorer.search.engine import SearchError
from vl_explorer.search.flickr import LICENSES


def test_openverse_gives_all_in_one_request_with_a_token(monkeypatch):
    monkeypatch.setenv("OPENVERSE_TOKEN", KEY)
    page, requests = search("openverse", 240, total=500)
    assert (len(page.results), page.exhausted, len(requests)) == (240, True, 1)
    assert requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_openverse_without_a_token_sends_none():
    assert "authorization" not in search("openverse", 1)[1][0].headers


@pytest.mark.parametrize("pages", [None, "3", True])
def test_openverse_must_count_its_pages(pages):
    with pytest.raises(SearchError, match="page_count must be a whole number"):
        search("openverse", 1, service=lambda request: {**openverse(3)(request), "page_count": pages})


def test_commons_follows_every_mark_and_the_rank_inside_an_answer():
    def answer(request):
        # The information on some files comes with a request of its own for the same files.
        if "iistart" in request.params:
            return {"batchcomplete": True, "query": {"pages": [commons_page(0), commons_page(1)]}}
        part = [{"pageid": 1, "title": "File:Photo 0.jpg", "index": 1}, commons_page(1)]
        return {"query": {"pages": part}, "continue": {"iistart": "2020-01-01T00:00:00Z", "continue": "||"}}

    page, requests = search("commons", 5, service=answer)
    assert sorted(result.url for result in page.results) == [f"{IMAGES}/0.jpg", f"{IMAGES}/1.jpg"]
    assert (page.exhausted, [request.params.get("continue") for request in requests]) == (True, [None, "||"])
    assert requests[0].params["gsrsearch"] == "filetype:bitmap red fox"
    assert page.results[0].thumbnail_url == f"{IMAGES}/330px-1.jpg"


def test_commons_waits_where_servers_lag():
    lag = Reply(
        {"error": {"code": "maxlag", "info": "Waiting for db1: 7 seconds lagged"}}, headers={"Retry-After": "6"}
    )
    time = Time()
    page, _ = search("commons", 3, first=[lag], pacer=time.pacer())
    assert (len(page.results), time.slept) == (3, [6.0])
    with pytest.raises(SearchError, match="maxlag, Waiting for db1") as caught:
        search("commons", 3, service=lambda request: lag)
    assert caught.value.reason == "throttled"


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("cat-o'-nine-tails", "cat-o'-nine-tails"),
        ('-dog !cat "red fox" in:title (canine)', "dog cat red fox in title canine"),
        ("???", "???"),
    ],
)
def test_commons_takes_words_not_operators(query, sent):
    assert search("commons", 1, query=query)[1][0].params["gsrsearch"] == f"filetype:bitmap {sent}"


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        ({"error": {"code": "ratelimited", "info": "Too fast"}}, "throttled", "ratelimited, Too fast"),
        ({"error": {"code": "cirrussearch-too-busy-error"}}, "throttled", "cirrussearch-too-busy-error"),
        ({"error": {"code": "internal_api_error"}}, "refused", "internal_api_error"),
        ({"batchcomplete": True, "query": []}, "malformed", "query must be an object"),
        ({"query": {"pages": []}, "continue": [1]}, "malformed", "continue must be an object"),
    ],
)
def test_commons_errors_have_their_reason(content, reason, words):
    with pytest.raises(SearchError, match=words) as caught:
        search("commons", 3, service=lambda request: content)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("code", "reason", "requests"),
    [
        (100, "unauthorized", 1),
        (105, "unreachable", 4),
        (10, "unreachable", 4),
        (3, "refused", 1),
        (None, "refused", 1),
    ],
)
def test_flickr_codes_have_their_reason(code, reason, requests):
    async def failed():
        fail = {"stat": "fail", "code": code, "message": "It said no"}
        async with running("flickr", service=lambda request: fail) as (engine, server):
            with pytest.raises(SearchError, match="It said no") as caught:
                await engine.search("fox", 1)
            return caught.value, len(server.requests)

    error, sent = asyncio.run(failed())
    assert (error.reason, sent) == (reason, requests)


@pytest.mark.parametrize("number", [*LICENSES, 4, "99", None])
def test_flickr_licenses_have_names(number):
    def answer(request):
        content = copy.deepcopy(flickr(1)(request))
        content["photos"]["photo"][0]["license"] = number
        return content

    result = search("flickr", 1, service=answer)[0].results[0]
    assert (result.license, result.license_url) == LICENSES.get(str(number), ("", ""))


def test_flickr_takes_the_largest_size_that_a_photo_has():
    def answer(request):
        content = copy.deepcopy(flickr(3)(request))
        for photo in content["photos"]["photo"][1:]:
            del photo["url_l"]
        content["photos"]["photo"][1].update(url_c=f"{IMAGES}/1_c.jpg", width_c=800)
        return content

    results = search("flickr", 3, service=answer)[0].results
    assert [result.url.rpartition("/")[2] for result in results] == ["0.jpg", "1_c.jpg", "2_q.jpg"]
    assert [result.width for result in results] == [640, 800, 150]
    assert results[0].page_url == "https://www.flickr.com/photos/12@N00/0"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply({"error": "Your account has run out of searches."}, 429), "spent"),
        (Reply({"error": "Too many requests"}, 429), "throttled"),
        (Reply({"error": "Unsupported `ijn`"}), "refused"),
        (Reply({"search_metadata": {}}), "malformed"),
    ],
)
def test_serpapi_errors_have_their_reason(reply, reason):
    with pytest.raises(SearchError) as caught:
        search("serpapi", 3, service=lambda request: reply)
    assert caught.value.reason == reason


def test_brave_says_that_a_key_is_not_accepted(monkeypatch):
    monkeypatch.setenv("BRAVE_API_KEY", "another-key-0123")
    with pytest.raises(SearchError, match=r"brave: status 422, No such token; BRAVE_API_KEY is not accepted") as caught:
        search("brave", 3)
    assert caught.value.reason == "unauthorized"


def test_serpapi_goes_on_after_a_page_that_is_not_full():
    def answer(request):
        content = serpapi(250)(request)
        content.get("images_results", [])[90:] = []
        return content

    page, requests = search("serpapi", 300, service=answer)
    assert (len(page.results), page.exhausted, len(requests)) == (230, True, 4)


def test_an_engine_is_used_again_after_it_was_closed():
    async def twice():
        async with running("flickr", client=None) as (engine, _):
            first = await engine.search("fox", 3)
            await engine.close()
            return first, await engine.search("fox", 3)

    first, second = asyncio.run(twice())
    assert first == second
