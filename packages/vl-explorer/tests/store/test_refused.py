"""Calls that a store refuses, with what the message says; a refusal changes nothing."""

from __future__ import annotations

import sqlite3

import pytest
from explorer_store import drawn, offer, url_of
from PIL import Image
from vl_explorer.store.disk.files import ImageFiles
from vl_explorer.store.disk.schema import MIGRATIONS
from vl_explorer.store.likeness.duplicates import NearDuplicates, fingerprint
from vl_explorer.store.likeness.filters import HashList
from vl_explorer.store.likeness.hashing import PerceptualHash
from vl_explorer.store.likeness.leak_guard import LeakGuard
from vl_explorer.store.replay import draw, replay
from vl_explorer.store.rights.export import export
from vl_explorer.store.rights.forget import forget
from vl_explorer.store.rows import Source
from vl_explorer.store.store import Store

NAN = float("nan")
TEXT = b"<html>not an image</html>"


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda s: s.add_run("run", {"seed": 1}), ValueError, "settings that it began with, seed 0 and not 1"),
        (lambda s: s.add_run("new", {"seed": NAN}), ValueError, "not JSON compliant"),
        (lambda s: s.finish_iteration(1, 7), ValueError, "iteration 7 of run 1 must be added"),
        (lambda s: s.add_query(1, 0, 0, "ibis"), ValueError, "place 0 of iteration 0 must be free"),
        (lambda s: s.set_query_state(1, "lost"), ValueError, "lost"),
        (lambda s: s.claim(url_of(1), lease=0), ValueError, "lease must be above 0"),
        (lambda s: s.claim(url_of(1), lease=NAN), ValueError, "lease must be above 0"),
        (lambda s: s.set_rewards(1, 0, {"a": 0.5, "b": NAN}), ValueError, "finite, got nan for image b and 1 in all"),
        (lambda s: s.image("0" * 64), KeyError, "no image '0"),
        (lambda s: s.path("../../etc/passwd"), KeyError, "no image"),
        (lambda s: s.files.path("../" * 21 + "x", "jpg"), ValueError, "named by a SHA-256"),
        (lambda s: s.files.path("0" * 64, "exe"), ValueError, "known extension, got '0+', 'exe'"),
        (lambda s: s.add_image(Source(url_of(3)), TEXT, drawn(3)), ValueError, "must be an image .* b'<html>no'"),
        (lambda s: forget(s, "heron"), ValueError, "URL or 64 hexadecimal digits, got 'heron'"),
        (lambda s: forget(s, "a" * 63), ValueError, "URL or 64 hexadecimal digits"),
        (lambda s: replay(s, 1, capacity=-1, count=1, seed=0, iteration=0), ValueError, "capacity must be at least 0"),
        (lambda s: draw([], -1, seed=0, iteration=0), ValueError, "count must be at least 0"),
        (lambda s: export(s, s.folder, progress=False), ValueError, "folder must be empty"),
        (lambda s: export(s, s.folder / "x", format="zip"), ValueError, "format must be one of webdataset, parquet"),
        (lambda s: export(s, s.folder / "x", allow=["atribution"]), ValueError, "allow must hold .* got 'atribution'"),
        (lambda s: export(s, s.folder / "x", allow="attribution"), ValueError, r"give \['attribution'\]"),
        (lambda s: export(s, s.folder / "x", images_per_file=0), ValueError, "images_per_file must be at least 1"),
        (lambda s: export(s, s.folder / "x", images=[]), ValueError, "something to export, got 0"),
        (lambda s: export(s, s.folder / "x", images=["0" * 64]), KeyError, "no image"),
        (lambda s: HashList(["xyz"]), ValueError, "64 hexadecimal digits, got 'xyz'"),
        (lambda s: HashList([], distance=128), ValueError, r"distance must lie in 0\.\.127"),
        (lambda s: NearDuplicates(quality=101), ValueError, "quality must lie"),
        (lambda s: NearDuplicates(cosine=1.1), ValueError, "cosine must lie"),
        (lambda s: NearDuplicates(list).find(fingerprint(drawn(1))), ValueError, "must have features"),
        (lambda s: NearDuplicates(list).add(1, fingerprint(drawn(1))), ValueError, "must have features"),
        (lambda s: fingerprint(drawn(1), lambda image: [0.0, 0.0]), ValueError, "not all zero"),
        (lambda s: fingerprint(drawn(1), lambda image: [[1.0]]), ValueError, r"shape \(d,\), got shape \(1, 1\)"),
        (lambda s: fingerprint(drawn(1), lambda image: [NAN]), ValueError, "must be finite"),
        (lambda s: LeakGuard([], list), ValueError, "at least one image, got none"),
        (lambda s: PerceptualHash(b"", 0), ValueError, "bits must be 32 bytes"),
    ],
)
def test_refused(store, call, kind, words):
    run = store.add_run("run", {"seed": 0})
    store.add_iteration(run.id, 0)
    store.add_query(run.id, 0, 0, "heron")
    offer(store, 0, license="CC BY 4.0")
    before = store.content()
    with pytest.raises(kind, match=words):
        call(store)
    assert (store.content(), store.faults()) == (before, [])
    assert not (store.folder / "x").exists()


@pytest.mark.parametrize("quota", [0, -1, 1.5])
def test_a_quota_is_a_number_of_bytes(tmp_path, quota):
    with pytest.raises(ValueError, match="quota must be a whole number of bytes"):
        Store(tmp_path / "store", quota=quota)
    assert not (tmp_path / "store").exists()


def test_databases_of_others_are_left_alone(tmp_path):
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"not a database, " * 100)
    with pytest.raises(ValueError, match="no SQLite database"):
        Store(tmp_path)
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(ValueError, match="the database of another program"):
        Store(tmp_path)
    path.unlink()
    Store(tmp_path).close()
    later = sqlite3.connect(path)
    later.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    later.close()
    with pytest.raises(ValueError, match="upgrade vl-explorer"):
        Store(tmp_path)


def test_a_database_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "store.sqlite").mkdir()
    with pytest.raises(OSError, match=r"store\.sqlite cannot be opened"):
        Store(tmp_path)


def test_links_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "images").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="got a link"):
        ImageFiles(tmp_path / "store")


def test_an_unknown_kind_of_image_is_refused_before_it_is_hashed(store):
    with pytest.raises(ValueError, match="must be an image"):
        store.add_image(Source(url_of(1)), b"", Image.new("L", (1, 1)))
    assert list((store.folder / "incoming").iterdir()) == []
