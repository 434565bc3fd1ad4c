"""Test modules import `explorer_api_server` from beside them; every service has a key."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

VARIABLES = ("FLICKR_API_KEY", "SERPAPI_API_KEY", "BRAVE_API_KEY", "MUSEUM_KEY")


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    """A key in each variable that must have one, and none where it is optional."""
    from explorer_api_server import KEY

    for variable in VARIABLES:
        monkeypatch.setenv(variable, KEY)
    monkeypatch.delenv("OPENVERSE_TOKEN", raising=False)
