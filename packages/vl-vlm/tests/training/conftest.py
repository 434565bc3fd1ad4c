"""The small run, which tests also start as a script."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_training():
    """The module `small_training.py`."""
    path = Path(__file__).parent / "small_training.py"
    spec = importlib.util.spec_from_file_location("small_training", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
