"""The installed distribution and the imported package are one and the same."""

from importlib.metadata import version

import vl_density


def test_version_matches_the_installed_metadata():
    assert vl_density.__version__ == version("vl-density")
