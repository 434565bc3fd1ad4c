"""The installed distribution and the imported package are one and the same."""

from importlib.metadata import version

import vl_core


def test_version_matches_the_installed_metadata():
    assert vl_core.__version__ == version("vl-core")
