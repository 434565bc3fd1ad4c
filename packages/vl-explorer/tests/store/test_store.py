"""Images that go into a store come out of it, once, with where they came from."""

from __future__ import annotations

import pytest
from explorer_store import BY, drawn, encoded, offer, url_of
from vl_explorer.store.images import Outcome
from vl_explorer.store.likeness.hashing import perceptual_hash
from vl_explorer.store.rights.forget import forget
from vl_explorer.store.rows import Iteration, QueryState, Result, Source
from vl_explorer.store.store import Store


def searched(store):
    run = store.add_run("run")
    store.add_iteration(run.id, 0)
    return run, store.add_query(run.id, 0, 0, "heron", concept="heron", engine="made up")


def test_an_image_comes_back_with_its_provenance(store):
    added = offer(store, 1, page_url="https://images.example/page")
    assert added.outcome is Outcome.NEW
    (image,) = store.images()
    assert image.perceptual_hash == perceptual_hash(drawn(1))
    assert (image.sha256, image.extension, image.width, image.height, image.stored) == (
        added.sha256,
        "png",
        48,
        48,
        True,
    )
    assert store.path(added.sha256).read_bytes() == encoded(drawn(1))
    assert store.path(added.sha256) == store.folder / "images" / image.sha256[:2] / f"{image.sha256[2:]}.png"
    (source,) = store.sources(added.sha256)
    assert source == Source(url_of(1), page_url="https://images.example/page", **BY)
    assert source.license_id == "CC-BY-4.0"
    assert source.fetched_at > 0
    assert store.bytes_on_disk() == len(encoded(drawn(1)))


def test_equal_content_is_kept_once_with_every_source(store):
    first, second = offer(store, 1), offer(store, 2, drawn(1))
    assert second.outcome is Outcome.KNOWN
    assert first.sha256 == second.sha256
    assert [source.url for source in store.sources(first.sha256)] == [url_of(1), url_of(2)]
    assert len(store.images()) == 1


def test_a_url_stands_for_one_image_for_good(store):
    first, second = offer(store, 1), offer(store, 1, drawn(2))
    assert second == type(second)(first.sha256, Outcome.KNOWN)
    assert len(store.images()) == 1
    assert store.faults(contents=True) == []


def test_results_keep_their_order_and_know_their_images(store):
    _, query = searched(store)
    results = [Result(rank, url_of(9 - rank), title=f"title {rank}", width=rank) for rank in range(3)]
    assert store.add_results(query.id, results, requests=2, cost=0.5, exhausted=True) == 3
    digest = offer(store, 8).sha256
    found = store.results(query.id)
    assert [result.url for result in found] == [url_of(9), url_of(8), url_of(7)]
    assert [result.image for result in found] == [None, digest, None]
    (asked,) = store.queries(query.run_id)
    assert (asked.state, asked.requests, asked.cost, asked.exhausted) == (QueryState.SEARCHED, 2, 0.5, True)


def test_whoever_resumes_may_say_everything_again(store):
    run, query = searched(store)
    results = [Result(rank, url_of(rank)) for rank in range(3)]
    store.add_results(query.id, results)
    store.set_rewards(run.id, 0, {offer(store, 0).sha256: 0.5})
    store.finish_iteration(run.id, 0, {"images": 1})
    before = store.content()
    again, same = searched(store)
    assert (again, same.id) == (run, query.id)
    store.add_results(same.id, results)
    offer(store, 0)
    assert store.content() == before
    assert store.iterations(run.id) == [Iteration(run.id, 0, {"images": 1})]


def test_rewards_replace_earlier_ones_and_belong_to_a_run(store):
    first, second = store.add_run("first"), store.add_run("second")
    a, b = offer(store, 1).sha256, offer(store, 2).sha256
    store.set_rewards(first.id, 0, {a: 0.9, b: 0.1})
    store.set_rewards(second.id, 0, {b: 0.7})
    store.set_rewards(first.id, 1, {a: 0.0, "f" * 64: 1.0})
    assert store.rewards(first.id) == {b: 0.1, a: 0.0}
    assert list(store.rewards(first.id)) == [b, a]
    assert store.rewards(second.id) == {b: 0.7}


def test_a_transaction_is_all_or_nothing(store):
    before = store.content()

    def fail_halfway():
        with store.transaction():
            store.add_run("run")
            store.add_failure(url_of(1), "dns")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    for write in (lambda: offer(store, 1), lambda: forget(store, url_of(1))):
        with store.transaction(), pytest.raises(RuntimeError, match=r"outside of Store\.transaction"):
            write()
    assert store.content() == before


def test_the_listing_holds_no_times_and_does_not_depend_on_order(tmp_path):
    stores = [Store(tmp_path / name, clock=clock) for name, clock in (("a", lambda: 1.0), ("b", lambda: 2.0))]
    for store, order in zip(stores, ((1, 2, 3), (3, 1, 2)), strict=True):
        searched(store)
        for number in order:
            store.claim(url_of(number + 10))
            offer(store, number)
            store.add_failure(url_of(number + 20), "dns")
    first, second = (store.content() for store in stores)
    assert first == second
    for store in stores:
        store.close()


def test_texts_from_outside_are_kept_as_utf8_and_never_name_a_file(store):
    offer(store, 1, title="\ud800 \0 ../../x", query="../../y", page_url="file:///etc/passwd")
    store.add_failure("https://images.example/\udcff", "dns", "x" * 10_000)
    (digest,) = (image.sha256 for image in store.images())
    assert store.sources(digest)[0].title == "\\ud800 \0 ../../x"
    assert len(store.failures()[0].detail) == 2000
    files = sorted(path.relative_to(store.folder).as_posix() for path in store.folder.rglob("*") if path.is_file())
    assert [name for name in files if not name.startswith("store.sqlite")] == [f"images/{digest[:2]}/{digest[2:]}.png"]


def test_images_are_followed_by_number(store):
    offer(store, 1)
    last = store.images()[-1].number
    added = offer(store, 2)
    assert [image.sha256 for image in store.images(after=last)] == [added.sha256]


def test_a_run_keeps_its_settings_but_those_that_are_free(store):
    first = store.add_run("run", {"seed": 0, "iterations": 2})
    again = store.add_run("run", {"seed": 0, "iterations": 5}, free=["iterations"])
    assert (again.id, again.settings) == (first.id, {"seed": 0, "iterations": 5})
    assert store.runs() == [again]
    with pytest.raises(ValueError, match="began with, seed 0 and not 1; choose another name"):
        store.add_run("run", {"seed": 1, "iterations": 5}, free=["iterations"])
    with pytest.raises(ValueError, match="iterations 5 and not 6"):
        store.add_run("run", {"seed": 0, "iterations": 6})
