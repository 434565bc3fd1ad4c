"""Properties of every engine of the web, each beside a server that speaks its language."""

import asyncio
import dataclasses
import pickle

import pytest
from explorer_api_server import IMAGES, Reply
from explorer_engines import CASES, Time, running, search
from vl_explorer.search.engine import SearchError
from vl_explorer.search.http.budget import Budget

NAMES = list(CASES)
PAGED = [name for name in NAMES if CASES[name].sizes]


def urls(page):
    return [result.url for result in page.results]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 20, 57, 58])
def test_count_is_respected_and_the_end_is_an_answer(name, count):
    page, requests = search(name, count)
    assert urls(page) == [f"{IMAGES}/{number}.jpg" for number in range(min(count, 57))]
    # SerpApi alone does not say that a page is the last one.
    assert page.exhausted == (count > 57 or (count == 57 and name != "serpapi"))
    assert page.requests == len(requests)


@pytest.mark.parametrize("name", PAGED)
def test_results_do_not_depend_on_the_size_of_pages(name):
    found = [search(name, 33, page_size=size) for size in CASES[name].sizes]
    assert {page.results for page, _ in found} == {found[0][0].results}
    for size, (_, requests) in zip(CASES[name].sizes, found, strict=True):
        assert len(requests) == -(-33 // size)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_that_a_service_gives_is_kept(name):
    first = search(name, 1)[0].results[0]
    assert (first.title, first.width) == ("Photo 0.jpg" if name == "commons" else "Photo 0", 640)
    if name in ("museum", "offsets"):
        return
    assert (first.height, first.page_url.startswith("https://")) == (480, True)
    assert first.thumbnail_url.startswith(f"{IMAGES}/")
    if name in ("serpapi", "brave"):
        assert (first.license, first.author) == ("", "")
    else:
        assert first.license.upper().endswith("BY-SA 2.0" if name == "flickr" else "BY-SA 4.0")
        assert first.license_url.startswith("https://creativecommons.org/licenses/by-sa/")
        assert first.author == ("Ann & Author" if name == "commons" else "Ann Author")
        assert first.identifier


@pytest.mark.parametrize("name", NAMES)
def test_depth_ends_a_search_without_an_error(name):
    async def deep():
        depth = CASES[name].depth
        async with running(name, total=depth + 500, **CASES[name].options) as (engine, server):
            assert engine.limits.depth == depth
            if name == "commons":  # 200 pages would take seconds
                engine.limits = dataclasses.replace(engine.limits, depth=400)
            return engine.limits.depth, await engine.search("fox", depth + 1), len(server.requests)

    depth, page, requests = asyncio.run(deep())
    assert (len(page.results), page.exhausted, page.requests) == (depth, True, requests)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "brave"])
@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_later_page_that_is_refused_is_the_end(name, status):
    case = CASES[name]

    def shallow(request):
        return Reply({}, status) if len(seen) == 1 else seen.append(request) or case.service(500)(request)

    seen = []
    page, requests = search(name, 450, service=shallow)
    assert (len(page.results) > 0, page.exhausted, len(requests)) == (True, True, 2)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_found_is_an_answer(name):
    page, requests = search(name, 5, total=0)
    assert (page.results, page.exhausted, len(requests)) == ((), True, 1)


def test_an_address_that_comes_again_is_found_once():
    def shifting(request):
        # A photo was added since the page before, so the last of that page comes again.
        page = int(request.params["page"])
        numbers = range(50)[max(0, (page - 1) * 20 - (page - 1)) :][:20]
        return {"data": {"items": [{"image": [{"src": f"{IMAGES}/{number}.jpg"}]} for number in numbers]}}

    page, _ = search("museum", 50, service=shifting)
    assert urls(page) == [f"{IMAGES}/{number}.jpg" for number in range(50)]


@pytest.mark.parametrize("name", NAMES)
def test_a_budget_of_requests_refuses_before_it_is_overspent(name):
    async def spent():
        budget = Budget(max_requests=2)
        async with running(name, total=1_000, budget=budget) as (engine, server):
            outcomes = await asyncio.gather(*(engine.search(f"fox {i}", 1) for i in range(5)), return_exceptions=True)
            with pytest.raises(SearchError, match="2 of 2 requests are spent; raise max_requests"):
                await engine.search("one more", 1)
            return outcomes, server.requests, budget

    outcomes, requests, budget = asyncio.run(spent())
    assert len(requests) == budget.requests == 2
    assert [getattr(outcome, "reason", "found") for outcome in outcomes] == ["found"] * 2 + ["spent"] * 3


@pytest.mark.parametrize("name", ["serpapi", "brave", "museum"])
def test_a_budget_of_money_refuses_before_it_is_overspent(name):
    async def spent():
        async with running(name) as (engine, _):
            price = engine.limits.cost_per_request
        budget = Budget(max_cost=price * 10)
        async with running(name, budget=budget) as (engine, server):
            pages = [await engine.search(f"fox {i}", 1) for i in range(10)]
            with pytest.raises(SearchError, match="raise max_cost"):
                await engine.search("one more", 1)
            return price, pages, len(server.requests)

    price, pages, requests = asyncio.run(spent())
    assert requests == 10
    assert sum(page.cost for page in pages) == pytest.approx(10 * price)


@pytest.mark.parametrize("name", PAGED)
def test_what_was_found_and_spent_before_a_failure_is_kept(name):
    with pytest.raises(SearchError) as caught:
        search(name, 57, page_size=7, budget=Budget(max_requests=3))
    assert len(caught.value.partial.results) == 21
    assert caught.value.partial.requests == 3
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.reason, str(copy), copy.partial) == ("spent", str(caught.value), caught.value.partial)


@pytest.mark.parametrize("name", NAMES)
def test_requests_keep_the_pace_over_all_searches(name):
    async def paced():
        time = Time()
        async with running(name, pacer=time.pacer(2.0)) as (engine, server):
            await asyncio.gather(*(engine.search(f"fox {i}", 1) for i in range(5)))
            return time, len(server.requests)

    time, requests = asyncio.run(paced())
    assert requests == 5
    assert sorted(time.slept)[-1] <= 2.0
    assert time.now >= 2.0


@pytest.mark.parametrize("name", NAMES)
def test_requests_ask_for_plain_json_and_say_who_asks(name):
    _, requests = search(name, 1)
    headers = requests[0].headers
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("vl-explorer/")
    assert headers["user-agent"].endswith("(ann@example.org)")
    assert "red fox" in " ".join(requests[0].params.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 30, 120])
def test_an_estimate_is_what_a_search_takes(name, count):
    async def both():
        async with running(name, total=500) as (engine, server):
            page = await engine.search("fox", count)
            return engine.limits.estimate(1, count), page, len(server.requests)

    estimate, page, requests = asyncio.run(both())
    assert estimate.requests == requests
    assert estimate.cost == page.cost
    assert estimate.seconds > 0


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_describes_itself_in_one_line_before_it_spends(name, caplog):
    async def described():
        async with running(name) as (engine, _):
            caplog.set_level("INFO", "vl_explorer")
            await engine.search("fox", 1)
            await engine.search("fox", 2)
            return engine.describe()

    line = asyncio.run(described())
    assert [record.getMessage() for record in caplog.records if record.name.startswith("vl_explorer")] == [line]
    assert "\n" not in line
    assert ("$" in line) == (name in ("serpapi", "brave", "museum", "offsets"))
