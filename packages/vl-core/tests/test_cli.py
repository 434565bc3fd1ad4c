"""A program of three commands: help without imports, one import a command, one line for whatever goes wrong."""

import io
import subprocess
import sys
import types

import pytest
from vl_core.cli import Command, note_on_interruption, run_command

SETTINGS = '''
"""The settings of a command."""
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import tyro
from vl_core.cli import FolderPath, Groups


@dataclass(frozen=True)
class Pace:
    steps: int = 3
    """Steps."""
    fast: bool = False
    """Be ``fast``."""

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Count some things."""

    things: tyro.conf.Positional[tuple[str, ...]] = ()
    """Things to count."""

    number: int = 3
    """How many."""

    sizes: tuple[int, ...] | None = None
    """Sizes;
    default: all."""

    order: Literal["rising", "falling"] = "rising"
    """The order."""

    exact: bool = True
    """Count exactly."""

    out: FolderPath | None = None
    """Folder for the counts."""

    pace: Pace = field(default_factory=lambda: Pace(steps=7))

    GROUPS: ClassVar[Groups] = {"Output": ("out",), "Input": ("number", "sizes", "things"), "Pace": ("pace",)}
    ALIASES: ClassVar = {"spec": "number"}

    def check(self):
        if self.number < 1:
            raise ValueError(f"spec and sizes must be at least 1, got {self.number}; use order='falling'")
'''
RUN = '''
"""A command."""
from vl_core.cli import note_on_interruption


def run(settings):
    if settings.number == 5:
        with note_on_interruption("rerun to resume"):
            raise KeyboardInterrupt
    if settings.number > 5:
        error = [ValueError("too\\n  many"), OSError(2, "No such file", "a.png"), TypeError("no"), KeyError("bug")]
        error[settings.number - 6].add_note("2 are kept")
        raise error[settings.number - 6]
    print(f"{settings.number} \\N{SNOWMAN}")
'''
EXAMPLES = {"a b --number 2": "count two things"}
COMMANDS = {
    "count": Command(
        "program_of_the_test.settings:Settings", "program_of_the_test.count:run", "count things", EXAMPLES
    ),
    "count-all": Command("program_of_the_test.missing:Settings", "program_of_the_test.missing:run", "count everything"),
}


@pytest.fixture(autouse=True)
def program(tmp_path, monkeypatch):
    """A package with the module of one command; the other's does not exist."""
    folder = tmp_path / "program_of_the_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "settings.py").write_text(SETTINGS)
    (folder / "count.py").write_text(RUN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("program_of_the_test")]:
        del sys.modules[name]


def call(*arguments):
    return run_command("program", "1.2.3", COMMANDS, arguments)


def test_a_command_runs_with_its_options_and_imports_no_other(capsys):
    assert call("count", "--number", "4") == 0
    assert capsys.readouterr().out == "4 ☃\n"
    assert "program_of_the_test.missing" not in sys.modules


def test_values_are_checked_before_the_command_is_imported(capsys):
    assert call("count", "--number", "0") == 2
    assert capsys.readouterr() == (
        "",
        "program: error: --number and --sizes must be at least 1, got 0; use --order falling\n",
    )
    assert "program_of_the_test.count" not in sys.modules


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_the_commands_without_importing_them(option, capsys):
    assert call(option) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "usage: program [--help] [--version] COMMAND ..."
    assert "  count      count things" in lines
    assert "  count-all  count everything" in lines
    assert not any(name.startswith("program_of_the_test") for name in sys.modules)


def test_version_is_printed(capsys):
    assert call("--version") == 0
    assert capsys.readouterr().out == "program 1.2.3\n"


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys; from vl_core.cli import run_command; [run_command('p', '1', {}, [x]) for x in ('-h', '--version')]"
        "; sys.exit(', '.join({'torch', 'numpy', 'tyro'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


HELP = """\
usage: program count [OPTIONS] [THINGS ...]

Count some things.

Input:
  THINGS ...            Things to count.
  --number N            How many (default: 3).
  --sizes N ...         Sizes; default: all.

Pace:
  --pace.steps N        Steps (default: 7).
  --pace.fast           Be fast.

Options:
  --order {rising,falling}
                        The order (default: rising).
  --exact, --no-exact   Count exactly (default: on).

Output:
  --out FOLDER          Folder for the counts.

Help:
  -h, --help            Show this help.
  --version             Show the version.

Examples:
  program count a b --number 2
      count two things
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--number", "4", "-h"]])
def test_help_of_a_command_shows_its_options_in_groups(arguments, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert call("count", *arguments) == 0
    assert capsys.readouterr() == (HELP, "")
    assert "program_of_the_test.count" not in sys.modules


def test_the_version_is_printed_after_a_command_too(capsys):
    assert call("count", "--version") == 0
    assert capsys.readouterr().out == "program 1.2.3\n"
    assert not any(name.startswith("program_of_the_test") for name in sys.modules)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--numbr", "4"], "--numbr is no option of program count; did you mean --number?"),
        (["--xyz"], "--xyz is no option of program count; see program count --help"),
        (["--number"], "--number must be a whole number, got nothing"),
        (["--number", "four"], "--number must be a whole number, got 'four'"),
        (["--number=1.5"], "--number must be a whole number, got '1.5'"),
        (["a", "--sizes", "1", "x"], "--sizes must be whole numbers, got '1' 'x'"),
        (["--order", "risng"], "--order must be one of rising, falling, got 'risng'; did you mean rising?"),
        (["--pace.steps", "0"], "--pace.steps must be at least 1, got 0"),
        (["--pace.no-fasst"], "--pace.no-fasst is no option of program count; did you mean --pace.no-fast?"),
    ],
)
def test_an_argument_that_does_not_fit_is_one_line_with_the_option(arguments, message, capsys):
    assert call("count", *arguments) == 2
    assert capsys.readouterr() == ("", f"program: error: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cuont"], "a command must come first, one of count, count-all, got 'cuont'; did you mean count?"),
        (["--number", "4"], "a command must come first, one of count, count-all, got '--number'; see program --help"),
        ([], "a command must come first, one of count, count-all, got none; see program --help"),
        (["count", "--number", "6"], "too many; 2 are kept"),
        (["count", "--number", "7"], "a.png: No such file; 2 are kept"),
        (["count", "--number", "8"], "no; 2 are kept"),
        (["count-all"], "No module named 'program_of_the_test.missing'"),
    ],
)
def test_bad_input_is_one_line_with_status_2(arguments, message, capsys):
    assert call(*arguments) == 2
    assert capsys.readouterr() == ("", f"program: error: {message}\n")


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(KeyError):
        call("count", "--number", "9")


def test_an_interruption_is_one_line_with_its_note(capsys):
    assert call("count", "--number", "5") == 130
    assert capsys.readouterr().err == "program: interrupted; rerun to resume\n"


def test_an_interruption_during_the_imports_is_one_line(monkeypatch, capsys):
    class Slow(types.ModuleType):
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "program_of_the_test.count", Slow("count"))
    assert call("count") == 130
    assert capsys.readouterr().err == "program: interrupted\n"


def test_without_tyro_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert call("count") == 2
    assert "pip install 'vl-core[cli]'" in capsys.readouterr().err


def test_what_the_terminal_cannot_show_is_escaped(monkeypatch):
    terminal = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(terminal, "ascii"))
    assert call("count") == 0
    sys.stdout.flush()
    assert terminal.getvalue().split() == [b"3", rb"\u2603"]


def test_a_reader_that_leaves_ends_the_program_without_a_word():
    code = "import sys; from vl_core.cli import run_command; sys.exit(run_command('program', '1', {}, ['--help']))"
    program = subprocess.Popen(
        [sys.executable, "-c", f"input(); {code}"], stdin=-1, stdout=-1, stderr=-1, text=True, encoding="utf-8"
    )
    program.stdout.close()
    program.stdin.write("\n")
    program.stdin.close()
    assert (program.stderr.read(), program.wait(60)) == ("", 141)
    program.stderr.close()


def test_only_an_interruption_gets_the_note():
    with pytest.raises(ValueError, match="x") as caught, note_on_interruption("note"):
        raise ValueError("x")
    assert not hasattr(caught.value, "__notes__")
