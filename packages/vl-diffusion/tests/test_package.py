"""The installed distribution and the imported package are one and the same, and the package offers what it names."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import is_dataclass
from importlib import import_module
from importlib.metadata import version

import pytest
import tyro
import vl_diffusion
from vl_diffusion.cli import COMMANDS, main


def test_version_matches_the_installed_metadata():
    assert vl_diffusion.__version__ == version("vl-diffusion")


def test_every_public_name_is_there_and_no_other():
    for name in vl_diffusion.__all__:
        assert getattr(vl_diffusion, name) is not None
    assert set(vl_diffusion.__all__) <= set(dir(vl_diffusion))
    namespace: dict[str, object] = {}
    exec("from vl_diffusion import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(vl_diffusion.__all__)
    with pytest.raises(AttributeError, match="No vl_diffusion attribute Classifier"):
        vl_diffusion.Classifier  # noqa: B018


HEAVY = ("torch", "diffusers", "transformers", "timm", "accelerate", "matplotlib", "scipy", "pyarrow", "torchvision")
BEFORE_A_COMMAND_RUNS = """
import importlib, json, sys

from vl_diffusion.cli import COMMANDS, main

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
    assert len(statuses) == 2 + len(COMMANDS)
    assert heavy == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_explains_each_option_in_a_group_and_shows_examples(name, capsys):
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    headings = re.findall(r"^(\w+):$", shown, re.MULTILINE)
    assert headings[-4:] == ["Output", "Runtime", "Help", "Examples"] or name == "demo"
    assert "Options" not in headings
    # An option without an explanation would be followed by another one.
    assert not re.search(r"^  --\S+( \S+)*\n  --", shown, re.MULTILINE)
    command = COMMANDS[name]
    module, settings = command.settings.split(":")
    assert command.examples
    for line in command.examples:
        assert tyro.cli(getattr(import_module(module), settings), args=shlex.split(line)) is not None


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_has_settings_and_a_run_function(command):
    settings, run = (name.split(":") for name in (command.settings, command.run))
    assert is_dataclass(getattr(import_module(settings[0]), settings[1]))
    assert callable(getattr(import_module(run[0]), run[1]))
