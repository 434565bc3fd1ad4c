"""Leftovers of a kill do not survive the opening of a store; what another process is doing does."""

from __future__ import annotations

import sqlite3

import pytest
from explorer_store import drawn, encoded, offer, url_of
from vl_explorer.store.claims import Claim
from vl_explorer.store.disk import schema
from vl_explorer.store.disk.database import StoreBusyError
from vl_explorer.store.images import Outcome
from vl_explorer.store.rows import Source
from vl_explorer.store.store import Store


def test_files_without_a_row_go(store):
    kept = offer(store, 1).sha256
    orphan = store.files.path("ab" + "0" * 62, "jpg")
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"x")
    twin = store.path(kept).with_suffix(".gif")  # the same digest, another extension
    twin.write_bytes(b"x")
    prepared = store.files.prepare(b"half")
    assert len(store.faults()) == 2
    with Store(store.folder) as again:
        assert again.recovered == (3, 0)
        assert again.faults() == []
        assert [image.sha256 for image in again.images()] == [kept]
    assert not any(path.exists() for path in (orphan, twin, prepared))


def test_a_row_without_a_file_goes_and_its_url_may_be_claimed(store):
    lost, kept = offer(store, 1).sha256, offer(store, 2).sha256
    store.path(lost).unlink()
    with Store(store.folder) as again:
        assert again.recovered == (0, 1)
        assert [image.sha256 for image in again.images()] == [kept]
        assert again.claim(url_of(1)) is Claim.GRANTED
        assert again.faults() == []


def test_a_kill_before_the_commit_leaves_a_store_as_it_was(store, monkeypatch):
    before = store.content()

    class KilledError(BaseException):
        pass

    def killed(*_):
        raise KilledError

    monkeypatch.setattr(store, "_insert_source", killed)
    with pytest.raises(KilledError):
        offer(store, 1)
    assert len(store.faults()) == 1  # the file is in its place, its row is not
    with Store(store.folder) as again:
        assert again.recovered == (1, 0)
        assert (again.content(), again.faults()) == (before, [])


def test_a_living_process_whose_temporary_file_is_taken_away_writes_it_again(store, monkeypatch):
    place = store.files.place

    def swept(prepared, *arguments):
        prepared.unlink()
        place(prepared, *arguments)

    monkeypatch.setattr(store.files, "place", swept)
    assert offer(store, 1).outcome is Outcome.NEW
    assert store.faults(contents=True) == []


def test_other_content_under_a_name_is_found(store):
    store.path(offer(store, 1).sha256).write_bytes(b"other")
    assert store.faults() == []
    assert "has other content" in store.faults(contents=True)[0]


def test_files_that_are_not_the_stores_stay(store):
    stranger = store.folder / "images" / "notes.txt"
    stranger.write_text("mine")
    Store(store.folder).close()
    assert stranger.read_text() == "mine"


def test_a_full_disk_changes_nothing(store, monkeypatch):
    offer(store, 1)
    before = store.content()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.files, "place", full)
    with pytest.raises(OSError, match="No space"):
        offer(store, 2)
    assert (store.content(), store.faults()) == (before, [])
    assert list((store.folder / "incoming").iterdir()) == []


def test_a_full_disk_under_the_database_changes_nothing(store):
    before = store.content()
    pages = store.database.row("PRAGMA page_count")[0]
    store.database.row(f"PRAGMA max_page_count = {pages}")
    run = "x" * 100_000
    with pytest.raises(OSError, match="No space left on device"):
        store.add_run(run)
    store.database.row("PRAGMA max_page_count = 1000000")
    assert store.content() == before
    store.add_run(run)


def test_a_lock_that_never_ends_is_reported(store):
    other = sqlite3.connect(store.folder / "store.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="locked by another process in each of 4 tries"):
        Store(store.folder, busy_seconds=0.01)
    other.close()


def test_migrations_are_taken_once_and_keep_what_is_there(store, monkeypatch):
    digest = offer(store, 1).sha256
    step = ("ALTER TABLE images ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))
    for _ in range(2):
        with Store(store.folder) as newer:
            assert newer.database.rows("SELECT sha256, note FROM images") == [(digest, "none")]
            assert newer.database.row("PRAGMA user_version") == (len(schema.MIGRATIONS),)


def test_spending_of_an_earlier_version_is_that_of_its_queries(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        with Store(tmp_path) as store:
            with store.database.writing() as connection:
                connection.execute("INSERT INTO runs (id, name, settings, started_at) VALUES (1, 'old', '{}', 0)")
            store.add_iteration(1, 0)
            for place in range(2):
                query = store.add_query(1, 0, place, f"word {place}")
                store.add_results(query.id, [], requests=3, cost=0.5)
    with Store(tmp_path) as store:
        assert store.spending(1) == (6, 1.0)
        store.add_spending(1, 0.25)
    with Store(tmp_path) as store:
        assert store.spending(1) == (7, 1.25)


def test_the_database_is_set_up_as_it_should_be(store):
    pragmas = {
        name: store.database.row(f"PRAGMA {name}")[0] for name in ("journal_mode", "foreign_keys", "user_version")
    }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "user_version": len(schema.MIGRATIONS)}
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        store.add_query(99, 0, 0, "no such run")
    content = encoded(drawn(1), "JPEG")
    assert store.add_image(Source(url_of(1)), content, drawn(1)).outcome is Outcome.NEW
    assert store.images()[0].extension == "jpg"
