"""Commands by name, and the function that parses a command line and runs one of them."""

from __future__ import annotations

import difflib
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from vl_core._extras import import_extra
from vl_core.cli._checks import check_values
from vl_core.cli._help import command_help, program_help
from vl_core.cli._options import Option, read_options
from vl_core.cli._parse import in_options, parse


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

    examples: Mapping[str, str] = field(default_factory=dict)
    """Explanations of its examples by their arguments, for its help."""


def run_command(
    prog: str, version: str, commands: Mapping[str, Command], arguments: Sequence[str] | None = None
) -> int:
    """Parse a command line and run the command that it names.

    Bad input ends in one line on standard error, with the notes that were added to the exception (PEP 678), such as how
    much is kept. The line names options as they are written, also where the library names its arguments.

    Args:
        prog: Name of the program.
        version: Its version, for ``--version``.
        commands: Its commands by name.
        arguments: The command line without the program's name; by default, that of this process.

    Returns:
        The exit status: that of the command (0, or 1 where its documentation says so), 2 for bad input, 130 for an
        interruption, or 141 if the reader of the output, such as ``head``, has left.
    """
    try:
        status = _run_command(prog, version, commands, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter would complain when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _run_command(prog: str, version: str, commands: Mapping[str, Command], arguments: Sequence[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks must not cost the table; standard error escapes by default.
        sys.stdout.reconfigure(errors="backslashreplace")
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name == "--version" or (name in commands and "--version" in rest):
        print(f"{prog} {version}")
        return 0
    if name in ("-h", "--help"):
        print(program_help(prog, {name: command.help for name, command in commands.items()}))
        return 0
    if name not in commands:
        print(f"{prog}: error: {_unknown(prog, name, commands)}", file=sys.stderr)
        return 2
    command = commands[name]
    options: list[Option] = []
    aliases: Mapping[str, str] = {}
    try:
        # The settings import it too, and would not name the extra.
        import_extra("tyro", "cli")
        kind = _named(command.settings)
        options, aliases = read_options(kind), getattr(kind, "ALIASES", {})
        if "-h" in rest or "--help" in rest:
            print(command_help(f"{prog} {name}", kind, options, command.examples))
            return 0
        settings = parse(kind, options, rest, f"{prog} {name}")
        check_values(settings)
        # Values that need others to be seen as wrong; then what lies in files.
        for check in ("check", "check_input"):
            if hasattr(settings, check):
                getattr(settings, check)()
        # Takes seconds; an interruption meanwhile is one line too.
        return int(_named(command.run)(settings) or 0)
    except BrokenPipeError:
        raise
    except (TypeError, ValueError, OSError, ModuleNotFoundError) as error:
        _complain(prog, f"error: {in_options(_one_line(error), options, aliases)}", error)
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
