"""From a result to an image: claims, pages that object, licenses, filters, broken files."""

from __future__ import annotations

import asyncio
import io

import pytest
from explorer_loop import colored
from PIL import Image
from vl_explorer.exploring.fetching import Fetching
from vl_explorer.search.engine import SearchResult
from vl_explorer.store.claims import Claim
from vl_explorer.store.likeness.hashing import perceptual_hash
from vl_explorer.store.store import Store
from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Fetched, Reason, Refused

RESULT = SearchResult("https://a.example/1.png", page_url="https://a.example/page", license="CC BY 4.0")


class Web:
    """A fetcher of images by the number in their address."""

    def __init__(self, page=None, image=None):
        self.asked, self.pages, self.page = [], [], page
        self.image = image or colored(1, 2)

    async def fetch(self, url):
        self.asked.append(url)
        await asyncio.sleep(0)
        name = url.rpartition("/")[2]
        if name == "gone.png":
            return Refused(url, Reason.dns, "no such host")
        body = io.BytesIO()
        self.image.save(body, "PNG")
        return Fetched(url, url, b"\x89PNG cut" if name == "cut.png" else body.getvalue(), "image/png")

    async def check_page(self, url):
        self.pages.append(url)
        return self.page

    async def close(self):
        pass


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path, owner="test") as opened:
        yield opened


def fetched(store, web, results, **options):
    fetching = Fetching(store, web, options.pop("policy", Policy()), **options)

    async def all_of_them():
        return await asyncio.gather(*map(fetching.fetch, results))

    return fetching, asyncio.run(all_of_them())


def test_an_address_is_fetched_once_and_then_read_from_the_store(store):
    web = Web()
    fetching, offers = fetched(store, web, [RESULT, RESULT])
    entered = [fetching.enter(offer, engine="web", query="heron") for offer in offers]
    _, again = fetched(store, web, [RESULT])
    assert (web.asked, web.pages) == ([RESULT.url], [RESULT.page_url])
    assert entered[0].digest == entered[1].digest == again[0].digest == store.images()[0].sha256
    assert again[0].image.tobytes() == colored(1, 2).tobytes()
    assert store.sources(entered[0].digest)[0].license_id == "CC-BY-4.0"


@pytest.mark.parametrize(
    ("reason", "strict", "refused"),
    [
        (Reason.opt_out, False, "opt_out"),
        (Reason.timeout, False, ""),
        (Reason.timeout, True, "timeout"),
        (None, True, ""),
    ],
)
def test_a_page_that_objects_is_heard(store, reason, strict, refused):
    page = None if reason is None else Refused(RESULT.page_url, reason, "noai")
    _, (offer,) = fetched(store, Web(page), [RESULT], policy=Policy(strict=strict))
    assert offer.reason == refused
    assert [failure.reason for failure in store.failures()] == ([refused] if refused else [])


def test_pages_are_not_read_where_the_policy_says_so(store):
    web = Web(Refused(RESULT.page_url, Reason.opt_out, "noai"))
    _, (offer,) = fetched(store, web, [RESULT], policy=Policy(pages=False))
    assert (offer.reason, web.pages) == ("", [])


@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        ("https://a.example/gone.png", {}, "dns"),
        ("https://a.example/cut.png", {}, "not_image"),
        (RESULT.url, {"filters": [lambda image: "dull"]}, "dull"),
        (RESULT.url, {"policy": Policy(max_pixels=10)}, "pixels"),
    ],
)
def test_every_failure_keeps_its_reason(store, url, options, reason):
    _, (offer,) = fetched(store, Web(), [SearchResult(url)], **options)
    assert (offer.image, offer.reason) == (None, reason)
    assert [(failure.url, failure.reason) for failure in store.failures()] == [(url, reason)]
    _, (again,) = fetched(store, Web(), [SearchResult(url)], **options)
    assert again.reason == Claim.FAILED.value


def test_licenses_that_are_not_allowed_are_not_fetched(store):
    web, results = Web(), [RESULT, SearchResult("https://a.example/2.png", license="unheard of")]
    _, offers = fetched(store, web, results, licenses=["CC-BY-4.0"])
    assert [offer.reason for offer in offers] == ["", "license"]
    assert web.asked == [RESULT.url]
    assert store.failures() == []


def test_two_processes_that_wait_for_each_other_both_go_on(tmp_path):
    """Each holds what the other needs next, and neither may enter what it holds before it has that."""
    first, second = SearchResult("https://a.example/1.png"), SearchResult("https://a.example/2.png")

    async def work(store, web, mine, other):
        fetching = Fetching(store, web, Policy())
        await fetching.fetch(mine)
        await asyncio.sleep(0.02)
        offers = [await fetching.fetch(other), await fetching.fetch(mine)]
        return [fetching.enter(offer, engine="web", query="heron").digest for offer in offers]

    async def both(*stores):
        web = Web()
        works = [work(stores[0], web, first, second), work(stores[1], web, second, first)]
        return await asyncio.wait_for(asyncio.gather(*works), 5), web.asked

    with Store(tmp_path, owner="one") as one, Store(tmp_path, owner="two") as two:
        found, asked = asyncio.run(both(one, two))
        assert found == [[one.images()[0].sha256] * 2] * 2
    assert sorted(asked) == [first.url, second.url]


def test_what_was_not_entered_is_free_for_others_at_once(store, tmp_path):
    async def begin():
        fetching = Fetching(store, Web(), Policy())
        await fetching.fetch(RESULT)
        await fetching.stop()

    asyncio.run(begin())
    with Store(tmp_path, owner="another") as other:
        assert other.claim(RESULT.url) is Claim.GRANTED


def test_a_stored_file_that_is_damaged_is_refused(store):
    fetching, (offer,) = fetched(store, Web(), [RESULT])
    entered = fetching.enter(offer, engine="web", query="heron")
    store.path(entered.digest).write_bytes(b"rot")
    assert fetched(store, Web(), [RESULT])[1][0].reason == "broken"


def test_a_huge_image_is_held_at_a_smaller_size_and_stored_whole(store):
    """The same whether it comes from the web or from the store."""
    huge = Image.linear_gradient("L").resize((2100, 1050))
    fetching, (offer,) = fetched(store, Web(image=huge), [RESULT])
    assert offer.image.size == (1024, 512)
    assert fetching.enter(offer, engine="web", query="heron").digest == store.images()[0].sha256
    assert (store.images()[0].width, store.images()[0].height) == huge.size
    assert store.images()[0].perceptual_hash == perceptual_hash(huge)
    assert fetched(store, Web(), [RESULT])[1][0].image.tobytes() == offer.image.tobytes()
