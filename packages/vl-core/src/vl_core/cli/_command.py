"""Commands by name, and the function that parses a command line and runs one of them."""

from __future__ import annotations

import difflib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from vl_core._extras import import_extra

__all__ = ["Command", "note_on_interruption", "run_command"]


@dataclass(frozen=True)
class Command:
    """One subcommand of a program."""

    settings: str
    """The dataclass of its settings, as ``"module:Class"``; the module must be light, since it is imported first."""

    run: str
    """The function that takes an instance of it, as ``"module:function"``; imported when the settings are checked. It
    returns the exit status, or None for 0."""

    help: str
    """One line for the help of the program."""


def run_command(
    prog: str, version: str, commands: Mapping[str, Command], arguments: Sequence[str] | None = None
) -> int:
    """Parse a command line and run the command that it names.

    Bad input ends in one line on standard error, with the notes that were added to the exception (PEP 678), such as how
    much is kept.

    Args:
        prog: Name of the program.
        version: Its version, for ``--version``.
        commands: Its commands by name.
        arguments: The command line without the program's name; by default, that of this process.

    Returns:
        The exit status: that of the command (0, or 1 where its documentation says so), 2 for bad input, or 130 for an
        interruption.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks must not cost the table; standard error escapes by default.
        sys.stdout.reconfigure(errors="backslashreplace")
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name in ("-h", "--help"):
        print(_help(prog, commands))
        return 0
    if name == "--version":
        print(f"{prog} {version}")
        return 0
    if name not in commands:
        print(f"{prog}: error: {_unknown(prog, name, commands)}", file=sys.stderr)
        return 2
    command = commands[name]
    try:
        tyro = import_extra("tyro", "cli")
        try:
            settings = tyro.cli(_named(command.settings), prog=f"{prog} {name}", args=rest)
        # After the command's help, or an option that it does not take.
        except SystemExit as ended:
            return int(ended.code or 0)
        if hasattr(settings, "check"):
            settings.check()
        # Takes seconds; an interruption meanwhile is one line too.
        return int(_named(command.run)(settings) or 0)
    except (TypeError, ValueError, OSError, ModuleNotFoundError) as error:
        _complain(prog, f"error: {_one_line(error)}", error)
        return 2
    except KeyboardInterrupt as interruption:
        _complain(prog, "interrupted", interruption)
        return 130


@contextmanager
def note_on_interruption(note: str) -> Iterator[None]:
    """Add a note to a ``KeyboardInterrupt`` that leaves the block; `run_command` prints it."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        interruption.add_note(note)
        raise


def _named(name: str) -> Any:
    """Import what ``"module:attribute"`` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _help(prog: str, commands: Mapping[str, Command]) -> str:
    width = max(map(len, ["--version", *commands]))
    rows = [f"  {name:{width}}  {command.help}" for name, command in commands.items()]
    return "\n".join(
        [
            f"usage: {prog} [--help] [--version] COMMAND ...",
            "",
            "commands:",
            *rows,
            "",
            "options:",
            f"  {'--help':{width}}  show this help, or that of a command: {prog} COMMAND --help",
            f"  {'--version':{width}}  show the version",
        ]
    )


def _unknown(prog: str, name: str, commands: Mapping[str, Command]) -> str:
    expected = f"a command must come first, one of {', '.join(commands)}"
    close = difflib.get_close_matches(name, commands, n=1)
    advice = f"did you mean {close[0]}?" if close else f"see {prog} --help"
    return f"{expected}, got {repr(name) if name else 'none'}; {advice}"


def _complain(prog: str, text: str, error: BaseException) -> None:
    print("; ".join([f"{prog}: {text}", *getattr(error, "__notes__", ())]), file=sys.stderr)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
