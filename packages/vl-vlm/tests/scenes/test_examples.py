"""Examples in docstrings give what they show."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["dataset", "drawing", "draws", "pairs", "truth", "wording"])
def test_docstring_examples_give_what_they_show(name):
    found = doctest.testmod(importlib.import_module(f"vl_vlm.scenes.{name}"))
    assert found.attempted
    assert not found.failed
