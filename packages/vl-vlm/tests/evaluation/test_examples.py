"""Examples in docstrings give what they show."""

import doctest
import importlib

import pytest

ROOMS = [
    "evaluate",
    "intervals",
    "scene_report",
    "scorers.baselines",
    "scorers.dual_encoder",
    "tasks.classification",
    "tasks.pairs",
    "tasks.retrieval",
    "tasks.scenes",
]


@pytest.mark.parametrize("name", ROOMS)
def test_docstring_examples_give_what_they_show(name):
    found = doctest.testmod(importlib.import_module(f"vl_vlm.evaluation.{name}"))
    assert found.attempted
    assert not found.failed
