"""Makes `explorer_page_store` importable from the tests of this folder."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture
def store(tmp_path):
    from explorer_page_store import fill
    from vl_explorer.store.store import Store

    with Store(tmp_path / "store") as opened:
        fill(opened)
        yield opened
