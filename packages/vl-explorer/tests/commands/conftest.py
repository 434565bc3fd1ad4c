"""Test modules import the helpers of the tests of the web and of the store, and have a store to work on."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS / "web"), str(TESTS / "store")]


@pytest.fixture
def filled(tmp_path):
    """Folder of a store with a run of three images: two under CC BY with rewards, one of unknown license."""
    from explorer_store import offer, url_of
    from vl_explorer.store.rows import Result
    from vl_explorer.store.store import Store

    folder = tmp_path / "store"
    with Store(folder, owner="test") as store:
        run = store.add_run("herons", {"seed": 0})
        store.add_iteration(run.id, 0)
        query = store.add_query(run.id, 0, 0, "gray heron", concept="heron", engine="made up")
        pages = [f"https://gallery.example/{number}" for number in range(5)]
        results = [Result(number, url_of(number), page, title="A heron") for number, page in enumerate(pages)]
        store.add_results(query.id, results)
        added = [offer(store, number, page_url=pages[number]) for number in range(2)]
        offer(store, 2, license="", page_url=pages[2])
        store.set_rewards(run.id, 0, {image.sha256: 0.5 + number / 10 for number, image in enumerate(added)})
    return folder
