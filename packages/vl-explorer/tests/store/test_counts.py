"""Counts of a store are those of its rows, and a store that is read only stays as it is."""

from __future__ import annotations

import sqlite3

import pytest
from explorer_store import ITERATIONS, QUERIES, RESULTS, explore, offer, url_of
from vl_explorer.store.counts import QueryCounts, ResultCounts
from vl_explorer.store.rows import QueryState
from vl_explorer.store.store import Store


def test_counts_agree_with_the_rows(tmp_path):
    explore(tmp_path)
    with Store(tmp_path, read_only=True) as store:
        (run,) = store.runs()
        queries = store.queries(run.id)
        counts = store.count_queries(run.id)
        assert counts == {t: QueryCounts(searched=QUERIES, requests=QUERIES) for t in range(ITERATIONS)}
        assert counts[0].total == QUERIES
        asked = [(query.id, query.iteration, query.place, query.concept, query.text) for query in queries]
        assert [(q.id, q.iteration, q.place, q.concept, q.text) for q in store.asked(run.id)] == asked
        assert store.count_images() == len(store.images())
        reasons = [failure.reason for failure in store.failures()]
        assert store.count_failures() == {reason: reasons.count(reason) for reason in reasons}
        failed = {failure.url for failure in store.failures()}
        own = [result for query in queries[:QUERIES] for result in store.results(query.id)]
        wanted = ResultCounts(len(own), sum(bool(r.image) for r in own), sum(r.url in failed for r in own))
        assert store.count_results(run.id, 0) == wanted
        images = {result.image for result in own if result.image}
        assert store.count_images_of([query.id for query in queries[:QUERIES]]) == len(images) <= QUERIES * RESULTS
        rewards = store.rewards(run.id)
        stored = {image.sha256 for image in store.images() if image.stored}
        best = [(image, value) for image, value in rewards.items() if image in stored][:5]
        assert list(store.best_rewards(run.id, 5).items()) == best


def test_states_of_queries_are_told_apart(store):
    run = store.add_run("run")
    store.add_iteration(run.id, 3)
    for place, state in enumerate(QueryState):
        query = store.add_query(run.id, 3, place, state.value)
        store.add_results(query.id, [], requests=2, cost=0.25)
        store.set_query_state(query.id, state)
    assert store.count_queries(run.id) == {3: QueryCounts(1, 1, 1, 1, 8, 1.0)}
    assert store.count_images_of([]) == 0


def test_a_read_only_store_follows_the_writer_and_writes_nothing(store):
    offer(store, 1)
    (left := store.files.incoming / "half.tmp").write_bytes(b"of a process at work")
    with Store(store.folder, read_only=True) as reader:
        before = reader.database.version()
        assert reader.database.version() == before
        digest = offer(store, 2).sha256
        assert reader.database.version() != before
        assert reader.path(digest).is_file()
        for write in (lambda: offer(reader, 3), lambda: reader.add_run("run"), lambda: reader.claim(url_of(4))):
            with pytest.raises(RuntimeError, match="opened to be read only; open the store without"):
                write()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.database.rows("DELETE FROM images")
        assert reader.content() == store.content()
    assert left.exists()


def test_a_read_only_store_makes_no_folders(tmp_path):
    Store(tmp_path).close()
    for name in ("images", "incoming"):
        (tmp_path / name).rmdir()
    with Store(tmp_path, read_only=True) as reader:
        assert reader.faults() == []
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_read_only_store_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"store\.sqlite must be the database of a store, but there is none"):
        Store(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        connection.execute("CREATE TABLE other (id)")
    connection.close()
    with pytest.raises(ValueError, match="got the database of another program"):
        Store(tmp_path, read_only=True)
