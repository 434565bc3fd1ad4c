"""The commands of every package: they answer before anything heavy is imported, and their help is complete."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path

import pytest
import tyro

PACKAGES = sorted(path.parent.name for path in Path(__file__).parents[1].glob("packages/*/src/*/cli.py"))
HEAVY = (
    *("torch", "diffusers", "transformers", "timm", "accelerate", "matplotlib", "scipy", "pyarrow", "torchvision"),
    *("stable_baselines3", "mujoco"),
)
BEFORE_A_COMMAND_RUNS = """
import importlib, json, sys

cli = importlib.import_module(sys.argv[1])
statuses = {}
for arguments in (["--help"], ["--version"], *([name, "--help"] for name in cli.COMMANDS)):
    statuses[" ".join(arguments)] = cli.main(arguments)
for command in cli.COMMANDS.values():
    module, name = command.settings.split(":")
    getattr(importlib.import_module(module), name)().check()
print(json.dumps([statuses, sorted(set(sys.argv[2:]) & set(sys.modules))]))
"""
WRONG_INPUT = """
import contextlib, importlib, importlib.util, io, json, shlex, sys
from pathlib import Path

from vl_core.cli._options import read_options

spec = importlib.util.spec_from_file_location("command_start", sys.argv[2])
command_start = importlib.util.module_from_spec(spec)
spec.loader.exec_module(command_start)
cli = importlib.import_module(sys.argv[1])
prog = sys.argv[1].removesuffix(".cli").replace("_", "-")
command_start.prepare(Path())
before = sorted(Path().rglob("*"))
# PyTorch alone knows the devices of the machine.
lines = command_start.command_lines(prog, cli.COMMANDS)
lines = [line for line, status in lines.items() if status and "cuda" not in line]
for name, command in cli.COMMANDS.items():
    module, _, settings = command.settings.partition(":")
    for option in read_options(getattr(importlib.import_module(module), settings)):
        if "number" in option.expected and option.flag not in ("--layer", "--map-layer"):
            values = ["-7"] if "whole" in option.expected else ["-0.7", "nan", "inf"]
            lines += [f"{prog} {name} {option.flag} {' '.join([value] * (option.count or 1))}" for value in values]
said = {}
for line in lines:
    with contextlib.redirect_stderr(io.StringIO()) as error:
        status = cli.main(shlex.split(line)[1:])
    said[line] = [status, error.getvalue()]
changed = sorted(Path().rglob("*")) != before
print(json.dumps([said, changed, sorted(set(sys.argv[3:]) & set(sys.modules))]))
"""
COMMANDS = [
    pytest.param(import_module(f"{package}.cli"), name, id=f"{package}-{name}")
    for package in PACKAGES
    for name in import_module(f"{package}.cli").COMMANDS
]


@pytest.mark.parametrize("package", PACKAGES)
def test_help_and_checks_of_every_command_come_before_the_heavy_imports(package):
    program = [sys.executable, "-c", BEFORE_A_COMMAND_RUNS, f"{package}.cli", *HEAVY]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    statuses, heavy = json.loads(done.stdout.splitlines()[-1])
    assert set(statuses.values()) == {0}
    assert len(statuses) == 2 + len(import_module(f"{package}.cli").COMMANDS)
    assert heavy == []


@pytest.mark.parametrize("package", PACKAGES)
def test_wrong_input_of_every_command_is_one_line_before_the_heavy_imports(package, tmp_path):
    benchmark = Path(__file__).parents[1] / "packages/vl-core/benchmarks/command_start.py"
    # What a reader of images or of archives needs is no model library.
    heavy = [name for name in HEAVY if name != "pyarrow"]
    program = [sys.executable, "-c", WRONG_INPUT, f"{package}.cli", str(benchmark), *heavy]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said, changed, loaded = json.loads(done.stdout.splitlines()[-1])
    assert len(said) >= 8 * len(import_module(f"{package}.cli").COMMANDS)
    prog = package.replace("_", "-")
    for line, (status, error) in said.items():
        assert status == 2, line
        assert error.count("\n") == 1, line
        assert error.startswith(f"{prog}: error: "), line
        option = re.search(r" (--[a-z.-]+) [^ ]", line)
        # A file or a model is named by its own name.
        if option and option[1] not in ("--model", "--source", "--teacher", "--tree"):
            assert option[1] in error, (line, error)
    assert not changed
    assert loaded == []


@pytest.mark.parametrize(("cli", "name"), COMMANDS)
def test_help_of_every_command_explains_each_option_in_a_group_and_shows_examples(cli, name, capsys):
    assert cli.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    headings = re.findall(r"^(\w+):$", shown, re.MULTILINE)
    assert headings[-4:] == ["Output", "Runtime", "Help", "Examples"] or name in ("dashboard", "demo")
    assert "Options" not in headings
    # An option without an explanation would be followed by another one.
    assert not re.search(r"^  --\S+( \S+)*\n  --", shown, re.MULTILINE)
    command = cli.COMMANDS[name]
    module, settings = command.settings.split(":")
    assert command.examples
    for line in command.examples:
        assert tyro.cli(getattr(import_module(module), settings), args=shlex.split(line)) is not None


@pytest.mark.parametrize(("cli", "name"), COMMANDS)
def test_every_command_has_settings_and_a_run_function(cli, name):
    command = cli.COMMANDS[name]
    settings, run = (name.split(":") for name in (command.settings, command.run))
    assert is_dataclass(getattr(import_module(settings[0]), settings[1]))
    assert callable(getattr(import_module(run[0]), run[1]))
