"""Makes `explorer_store` importable from the tests of this folder, and the script of the stress test."""

import sys
from pathlib import Path

import pytest
from vl_explorer.store.store import Store

sys.path += [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2] / "experiments" / "store")]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store", owner="test") as opened:
        yield opened
