"""Test modules import `captioned_files` from beside them."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture
def files(tmp_path):
    """Write files below the test's folder, or a folder in it."""
    from captioned_files import write

    return lambda content, below=".": write(tmp_path / below, content)
