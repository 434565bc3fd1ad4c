"""The installed distribution matches the imported package, and all public names exist."""

import doctest
import importlib
import json
import re
import shlex
import subprocess
import sys
import types
from dataclasses import is_dataclass
from importlib.metadata import version

import pytest
import torch
import tyro
import vl_attention
from vl_attention import cli


def test_version_matches_the_installed_metadata():
    assert vl_attention.__version__ == version("vl-attention")


def test_the_command_says_its_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"vl-attention {vl_attention.__version__}\n"


HEAVY = ("torch", "diffusers", "transformers", "timm", "accelerate", "matplotlib", "scipy", "pyarrow", "torchvision")
BEFORE_A_COMMAND_RUNS = """
import importlib, json, sys

from vl_attention.cli import COMMANDS, main

statuses = {}
for arguments in (["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)):
    statuses[" ".join(arguments)] = main(arguments)
for command in COMMANDS.values():
    module, name = command.settings.split(":")
    getattr(importlib.import_module(module), name)().check()
print(json.dumps([statuses, sorted(set(sys.argv[1:]) & set(sys.modules))]))
"""


def test_help_and_checks_of_every_command_come_before_the_heavy_imports():
    program = [sys.executable, "-c", BEFORE_A_COMMAND_RUNS, *HEAVY]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    statuses, heavy = json.loads(done.stdout.splitlines()[-1])
    assert set(statuses.values()) == {0}
    assert len(statuses) == 2 + len(cli.COMMANDS)
    assert heavy == []


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_every_command_explains_each_option_in_a_group_and_shows_examples(name, capsys):
    assert cli.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    headings = re.findall(r"^(\w+):$", shown, re.MULTILINE)
    assert headings[-4:] == ["Output", "Runtime", "Help", "Examples"] or name == "demo"
    assert "Options" not in headings
    # An option without an explanation would be followed by another one.
    assert not re.search(r"^  --\S+( \S+)*\n  --", shown, re.MULTILINE)
    command = cli.COMMANDS[name]
    module, settings = command.settings.split(":")
    assert command.examples
    for line in command.examples:
        assert tyro.cli(getattr(importlib.import_module(module), settings), args=shlex.split(line)) is not None


@pytest.mark.parametrize("command", cli.COMMANDS.values(), ids=cli.COMMANDS)
def test_every_command_has_settings_and_a_run_function(command):
    settings, run = (name.split(":") for name in (command.settings, command.run))
    assert is_dataclass(getattr(importlib.import_module(settings[0]), settings[1]))
    assert callable(getattr(importlib.import_module(run[0]), run[1]))


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
