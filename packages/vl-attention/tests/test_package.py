"""The installed distribution matches the imported package, and all public names exist."""

import doctest
import importlib
import types
from importlib.metadata import version

import pytest
import torch
import vl_attention
from vl_attention import cli


def test_version_matches_the_installed_metadata():
    assert vl_attention.__version__ == version("vl-attention")


def test_the_command_says_its_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"vl-attention {vl_attention.__version__}\n"


def test_every_public_name_is_there_and_no_other():
    importlib.import_module(
        "vl_attention.transfer.attention_transfer"
    )  # and so every module, none of which may hide a name
    for name in vl_attention.__all__:
        assert not isinstance(getattr(vl_attention, name), types.ModuleType), name
    assert set(vl_attention.__all__) <= set(dir(vl_attention))
    with pytest.raises(AttributeError, match="No vl_attention attribute Student"):
        vl_attention.Student  # noqa: B018


@pytest.mark.parametrize("name", ["attention.pairing", "models.normalization", "transfer.attention_transfer"])
def test_docstring_examples_give_what_they_show(name):
    found = doctest.testmod(importlib.import_module(f"vl_attention.{name}"), extraglobs={"torch": torch})
    assert found.attempted
    assert not found.failed
