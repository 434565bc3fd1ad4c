"""A store with a run for each test: a copy of one that is filled once, since each image costs a flush of the disk."""

import shutil
import sys
from pathlib import Path

import pytest
from vl_explorer.store.store import Store

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def _filled(tmp_path_factory):
    from explorer_page_store import fill

    folder = tmp_path_factory.mktemp("filled") / "store"
    with Store(folder) as store:
        fill(store)
    return folder


@pytest.fixture
def store(_filled, tmp_path):
    shutil.copytree(_filled, tmp_path / "store")
    with Store(tmp_path / "store") as opened:
        yield opened
